"""Checks of the entry points: the backend's list of unfinished tasks, and the webhook's address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final

from messages.keys import RunId
from messages.reasons import reason_of
from producer.sweep_rules import oddity_of
from services.backend import Backend
from services.checks import Check
from services.errors import BackendDown, CheckFailed
from services.http_body import IDENTITY
from services.unfinished import UnfinishedPage
from tasks.calls.webhook_paths import Webhooks

__all__ = ["backend_checks", "webhook_checks"]

_PAGES: Final = 20
"""Pages of the backend's list that are read."""
_ROWS_NAMED: Final = 5
_WEBHOOK_S: Final = 20.0
_CALLBACKS: Final = (
    "let BACKEND_URL lead to the backend's route for callbacks, in the form that CALLBACK_FORM names, and let it verify"
    " the signature before anything else: docs/backend.md"
)
_REJECTIONS: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


def backend_checks(backend: Backend, *, clock: Callable[[], float], nonce: Callable[[], str]) -> Sequence[Check]:
    """Return the checks that the backend answers the sweep, that the sweep can act on every row, and takes callbacks.

    Args:
        backend: client of the backend.
        clock: this machine's clock, in seconds since the epoch.
        nonce: creates a unique text, for the id of no task.
    """
    remedy = "BACKEND_URL and INTERNAL_CALLBACK_SECRET must be the backend's own"
    return (
        Check("backend", lambda: _unfinished(backend, clock), remedy),
        Check("callbacks", lambda: _callbacks(backend, f"doctor-{nonce()}"), _CALLBACKS, needs="backend"),
    )


def webhook_checks(webhooks: Webhooks, *, nonce: Callable[[], str]) -> Sequence[Check]:
    """Return the check that `producer.webhook` answers at the address given to vendors, and knows our secret.

    Args:
        webhooks: creates the paths.
        nonce: creates a unique text, for a path of no task.
    """
    remedy = "WEBHOOK_URL must be the public address of producer.webhook, and WEBHOOK_SECRET the same there as here"
    return (Check("webhook", lambda: _webhook(webhooks.url("doctor", RunId("doctor", nonce()), 1, 1)), remedy),)


async def _unfinished(backend: Backend, clock: Callable[[], float]) -> str:
    listed, wrong, cursor = 0, list[str](), ""
    for _ in range(_PAGES):
        page = await _page(backend, cursor)
        listed += len(page.rows)
        wrong += [f"unreadable: {example}" for example in page.examples]
        odd = [(row, oddity_of(row, clock())) for row in page.rows]
        wrong += [f"task {row.task[:80]!r} step {row.step}: {why}" for row, why in odd if why]
        cursor = page.cursor or ""
        if not cursor or len(wrong) >= _ROWS_NAMED:
            break
    if wrong:
        rows = "; ".join(wrong[:_ROWS_NAMED])
        raise CheckFailed(
            f"no sweep guards these rows of its list of unfinished tasks: {rows}",
            remedy="correct these rows in the backend's list: docs/backend.md says what each field holds",
        )
    return f"it accepts our signature; {listed} unfinished tasks older than 10 min"


async def _page(backend: Backend, cursor: str) -> UnfinishedPage:
    try:
        return await backend.unfinished(600, cursor)
    except BackendDown as error:
        if error.refused:
            remedy = "INTERNAL_CALLBACK_SECRET must be the backend's own, and this machine's clock right"
            raise CheckFailed(f"it refuses our signature: {error}", remedy=remedy) from error
        if error.unreadable:
            remedy = "let BACKEND_URL lead to the backend, and its list have the form that docs/backend.md describes"
            raise CheckFailed(str(error), remedy=remedy) from error
        raise


async def _callbacks(backend: Backend, task: str) -> str:
    """Send a callback about no task: one that is signed gets an answer, and one with a wrong signature is rejected."""
    signed, forged = await backend.try_callback(task)
    if signed in _REJECTIONS:
        remedy = "INTERNAL_CALLBACK_SECRET must be the backend's own for callbacks too, and this machine's clock right"
        raise CheckFailed(f"a signed callback is rejected ({signed})", remedy=remedy)
    if signed >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise CheckFailed(f"a callback about a task that does not exist was answered with {signed}")
    if forged not in _REJECTIONS:
        raise CheckFailed(f"a callback with a wrong signature was answered with {forged}, not with 401 or 403")
    return f"a callback about no task is answered with {signed}, one with a wrong signature with {forged}"


async def _webhook(url: str) -> str:
    """Call the function's path by GET, which it refuses without any effect if it knows our secret."""
    import httpx

    try:
        async with (
            httpx.AsyncClient(headers=IDENTITY, trust_env=False, timeout=_WEBHOOK_S, follow_redirects=False) as client,
            client.stream("GET", url) as answer,
        ):
            status = answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        # The text may contain the URL, whose end is a secret.
        raise CheckFailed(f"no answer: {reason_of(error)}") from None
    if status == HTTPStatus.FORBIDDEN:
        raise CheckFailed("it does not know a path signed with our secret")
    if status != HTTPStatus.METHOD_NOT_ALLOWED:
        raise CheckFailed(f"the answer there ({status}) is not one of producer.webhook")
    return "it answers, and knows our paths"
