"""The backend: one signed callback for each verdict, the questions it answers, and the tasks it sells to the API.

Callbacks have the form `steps` or, by configuration, the older form `task_update` (docs/backend.md). Both carry

    X-Timestamp               seconds since the epoch, when sent
    X-Internal-Signature      HMAC-SHA256 hex over task id + step index + timestamp
    X-Internal-Run            the run, 0 or that of a replay, to recognise a late repeat of an older run
    X-Internal-Signature-V2   HMAC-SHA256 hex over the whole call, see `services.signatures`

The first signature has no separators and covers no body, so two callbacks of one second could be recombined; it stays
for backends that know no other. The questions have both too; their first one is over path + timestamp (the path from
`/api/` on, as sent, without query), so that no signature of a callback can be used to ask, nor the other way round.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote, urlencode

import msgspec

from messages.reasons import reason_of
from services.errors import BackendDown, BadQuestion
from services.http_body import IDENTITY, read_body
from services.repeat import repeated
from services.retry_after import wait_of
from services.sales import SALES_PATH, Purchase, Sold, read_sale
from services.signatures import sign, sign_v2
from services.unfinished import UnfinishedPage, read_page
from telemetry import logs, metrics
from telemetry.events import Event
from telemetry.instruments import Metric, SpanName
from telemetry.redaction import redact_text
from telemetry.secrets import Secret
from telemetry.tracing import note, span

if TYPE_CHECKING:
    import httpx

__all__ = [
    "UNFINISHED_PATH",
    "Answer",
    "Backend",
    "Callback",
    "Form",
    "Judgement",
    "StepState",
    "judge",
]

Form = Literal["steps", "task_update"]
"""`steps`: POST /api/internal/tasks/{taskId}/steps/{stepIndex}/callback. `task_update`: POST /internal/task/update."""

log = logs.get(__name__)

UNFINISHED_PATH: Final = "/api/internal/tasks/unfinished"
"""Path of the list of unfinished tasks."""
_CONNECTIONS: Final = 4
_STATE_S: Final = 2.0
"""Seconds to wait for the backend's state of a step; without an answer results are shown all the same."""
_MAX_BODY_BYTES: Final = 1 << 20
_MAX_LIST_BYTES: Final = 16 << 20
"""Bytes of a page of unfinished tasks: about 100,000 rows."""
_SHOWN: Final = 2_000
"""Characters kept of a callback's body and of its answer."""
_NOES: Final = frozenset({404, 409, 410})
_ABSENT: Final = frozenset({404, 405, 410})
"""Statuses of a step that the backend does not know, or of a question that it does not know."""
_PASSING: Final = frozenset({401, 403, 404, 408, 409, 425, 429})
"""The 4xx statuses that may change later, with a key, a route or the load."""
_NOT_NOW: Final = frozenset({408, 425, 429})
"""The 4xx statuses of a question that came at a bad moment."""
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Exceptions of msgspec for malformed or foreign JSON."""

_STATES: Final[Mapping[str, str]] = {
    "success": "success",
    "done": "success",
    "failed": "failed",
    "cancelled": "failed",
}
"""Name of a backend's state -> the verdict it equals. A cancelled task counts as failed (refunded)."""


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict as it is sent to the backend."""

    task: str
    step: int = 0
    run: int = 0
    status: Literal["success", "failed"]
    outputs: tuple[str, ...] = ()
    """COS keys of a success, in order: `output/{user}/{task}/frame_01.jpg`, …"""
    message: str = ""
    """The catalogue's text of a failure, for an end user."""
    code: str = ""
    """The catalogue's code of a failure."""
    text: str = ""
    """The result of a kind that sells a text."""
    degraded: tuple[str, ...] = ()
    """Replacements in a success, such as `prompt_template`."""
    vendor_task_id: str = ""
    """The vendor's id of the last job, if there was one; only the older form has it."""


class Answer(msgspec.Struct, frozen=True):
    """A final answer to a callback: it need not be sent again."""

    delivered: bool
    """The backend has our verdict."""
    conflict: bool
    """The backend does not confirm our verdict, and its own state stands: an alarm."""
    http_status: int
    contrary: bool = False
    """The backend holds the contrary verdict."""
    sent: str = ""
    """The callback's body for people: redacted and cut."""
    answered: str = ""
    """The answer's body, likewise."""


class StepState(msgspec.Struct, frozen=True):
    """The backend's state of a step, as its answer gives it."""

    status: str = ""
    """The verdict that it equals, `success` or `failed`; empty for every other state."""
    user: str = ""
    """The user of the task; empty where the answer has none."""
    created: float = 0.0
    """When the step was sold, seconds since the epoch; 0 where the answer has none."""


class Judgement(StrEnum):
    """Meaning of an HTTP answer to a callback."""

    DELIVERED = "delivered"
    CONFLICT = "conflict"
    REFUSED = "refused"
    """The signature is not accepted: retry slowly, raise an alarm."""
    RETRY = "retry"


class _State(msgspec.Struct):
    status: str = ""
    user: str = ""
    created: float | None = None


class _Reply(msgspec.Struct, frozen=True):
    call: str
    """Method and path, for an error's text."""
    status: int
    body: bytes
    retry_after: float | None


def judge(http_status: int, body: bytes, status: str) -> Judgement:
    """Judge the answer to a callback (pure).

    Args:
        http_status: of the answer.
        body: of the answer; only that of a 409 is read: `{"status": …}` is the backend's state.
        status: the verdict that was sent, `success` or `failed`.
    """
    if _is_success(http_status):
        return Judgement.DELIVERED
    if http_status == 409:  # noqa: PLR2004 - Conflict
        return Judgement.DELIVERED if _state_of(body) == status else Judgement.CONFLICT
    return Judgement.REFUSED if _is_refusal(http_status) else Judgement.RETRY


class Backend:
    """A client of the backend. A callback is sent once; a question that fails is repeated by `services.repeat`.

    Args:
        base_url: `BACKEND_URL`, without the path; a trailing slash does no harm.
        secret: `INTERNAL_CALLBACK_SECRET`.
        clock: seconds since the epoch, for `X-Timestamp`; the store's time, for a machine's own may err.
        form: form of the callback that the backend understands.
        timeout: seconds for one call as a whole.
        asks_state: ask the backend for its state of a step (`state`).
        rng: the source of jitter between repeated questions.
        transport: instead of the network, for tests.
    """

    def __init__(  # noqa: PLR0913 - each is an independent setting
        self,
        *,
        base_url: str,
        secret: Secret,
        clock: Callable[[], float],
        form: Form = "steps",
        timeout: float = 10,
        asks_state: bool = True,
        rng: random.Random | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        import httpx

        self._base_url = base_url.rstrip("/")
        self._secret = secret
        self._clock = clock
        self._form: Form = form
        self._timeout = timeout
        self._asks_state = asks_state
        self._rng = rng or random.Random()  # noqa: S311 - jitter
        self._client = httpx.AsyncClient(
            headers=IDENTITY,
            timeout=timeout,
            limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
            trust_env=False,
            follow_redirects=False,
            transport=transport,
        )

    async def deliver(self, callback: Callback) -> Answer:
        """Send a verdict to the backend. Repeating it is harmless.

        Returns:
            The backend's final answer: it has the verdict, or it answered 409, with the contrary verdict or none.

        Raises:
            services.errors.BackendDown: it did not take the verdict; `refused` is True if it rejected our signature.
        """
        result = "failed"
        with span(SpanName.CALLBACK, status=callback.status):
            try:
                answer = await self._deliver(callback)
                result = "conflict" if answer.conflict else "delivered"
            except BackendDown as down:
                if down.refused:
                    result = "refused"
                    log.error(Event.CALLBACK_REFUSED, error=down)
                raise
            finally:
                note(result=result)
                metrics.count(Metric.CALLBACKS, result=result)
            note(http_status=answer.http_status)
        return answer

    async def _deliver(self, callback: Callback) -> Answer:
        path, document = _request(callback, self._form)
        body = msgspec.json.encode(document)
        reply = await self._send(
            "POST",
            path,
            signed=(callback.task, callback.step),
            body=body,
            run=str(callback.run),
        )
        judgement = judge(reply.status, reply.body, callback.status)
        if judgement in {Judgement.REFUSED, Judgement.RETRY}:
            raise self._down(reply)
        conflict = judgement is Judgement.CONFLICT
        return Answer(
            delivered=not conflict,
            conflict=conflict,
            http_status=reply.status,
            contrary=conflict and _state_of(reply.body) != "",
            sent=_shown(body),
            answered=_shown(reply.body),
        )

    async def try_callback(self, task: str) -> tuple[int, int]:
        """Send a callback about a task that does not exist, once as usual and once with another secret.

        Neither changes anything. A backend that verifies signatures rejects the second, and so shows that its route is
        there.

        Args:
            task: id that no task has.

        Returns:
            The statuses of both answers.

        Raises:
            services.errors.BackendDown: no answer.
        """
        path, document = _request(Callback(task=task, status="failed"), self._form)
        body, signed = msgspec.json.encode(document), (task, 0)
        known = await self._send("POST", path, signed=signed, body=body, run="0")
        wrong = Secret(secrets.token_hex(32))
        forged = await self._send("POST", path, signed=signed, body=body, run="0", secret=wrong)
        return known.status, forged.status

    async def unfinished(self, older_than: int, cursor: str = "") -> UnfinishedPage:
        """Return one page of the steps that wait for a verdict.

        Args:
            older_than: seconds since they were created, at least.
            cursor: of the page before; empty for the first.

        Raises:
            services.errors.BackendDown: no usable answer.
            services.errors.BadQuestion: the backend rejects it as malformed, such as for a cursor that it never gave.
        """
        query = urlencode({"older_than": older_than, **({"cursor": cursor} if cursor else {})})
        reply = await self._ask("GET", UNFINISHED_PATH, query=query)
        if not _is_success(reply.status):
            raise self._unanswered(reply, f", asked with the cursor {cursor!r}" if cursor else "")
        return read_page(reply.body)

    async def state(self, task: str, step: int) -> StepState | None:
        """Ask for the backend's state of a step.

        Returns:
            None without a usable answer: none within 2 s, one that cannot be read, or a backend without that question.
        """
        try:
            found = await self.known_state(task, step)
        except BackendDown as error:
            log.info(Event.STATE_UNKNOWN, error=error)
            return None
        if found is None and self._asks_state:
            log.info(Event.STATE_UNKNOWN)
        return found

    async def known_state(self, task: str, step: int) -> StepState | None:
        """Ask for the backend's state of a step, where no answer must not be taken for an absence.

        Returns:
            None for a step that the backend does not know, and of a backend without that question.

        Raises:
            services.errors.BackendDown: no usable answer within 2 s.
        """
        if not self._asks_state:
            return None
        path = _step_path(task, step)
        try:
            async with asyncio.timeout(_STATE_S):
                reply = await self._ask("GET", path)
            if reply.status in _ABSENT:
                return None
            if not _is_success(reply.status):
                raise self._down(reply)
            state = msgspec.json.decode(reply.body, type=_State)
        except (TimeoutError, *_UNREADABLE) as error:
            raise BackendDown(f"GET {path}: {reason_of(error)}") from error
        return StepState(_STATES.get(state.status, ""), state.user, state.created or 0.0)

    async def reopen(self, task: str, step: int, run: int) -> bool:
        """Ask for a failed step to be sold once more, for a replay. Asked again for the same run it is the same.

        Args:
            task: id of the task.
            step: step of the backend's pipeline.
            run: run that it opens, from 1.

        Returns:
            True when it is open; False when the backend says no (409), or does not know it (404, 410).

        Raises:
            services.errors.BackendDown: no usable answer.
            services.errors.BadQuestion: the backend rejects it as malformed.
        """
        path = f"{_step_path(task, step)}/reopen"
        reply = await self._ask("POST", path, body=b"{}", run=str(run))
        if reply.status not in _NOES and not _is_success(reply.status):
            raise self._unanswered(reply)
        return reply.status not in _NOES

    async def sell(self, sale: Purchase) -> Sold:
        """Sell a task; with the same key again it is the same task. Raises like `read_sale` and `reopen`."""
        reply = await self._send("POST", SALES_PATH, signed=(SALES_PATH,), body=msgspec.json.encode(sale))
        sold = read_sale(reply.status, reply.body, reply.retry_after)
        if sold is None:
            raise self._unanswered(reply)
        return sold

    async def close(self) -> None:
        """Drop connections."""
        await self._client.aclose()

    async def _ask(self, method: str, path: str, *, query: str = "", body: bytes = b"", run: str = "") -> _Reply:
        """Ask a question, which is repeated where the backend did not get to it; each try is signed by itself."""

        async def once() -> _Reply:
            reply = await self._send(method, path, signed=(path,), query=query, body=body, run=run)
            if reply.status in _NOT_NOW or reply.status >= 500:  # noqa: PLR2004 - the server's errors
                raise self._down(reply)
            return reply

        return await repeated(once, self._rng)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        signed: tuple[str | int, ...],
        query: str = "",
        body: bytes = b"",
        run: str = "",
        secret: Secret | None = None,
    ) -> _Reply:
        """Send once, signed now; `signed` is the part before the time that the older signature covers."""
        import httpx

        timestamp, secret = int(self._clock()), secret or self._secret
        target = f"{path}?{query}" if query else path
        headers = {
            "X-Timestamp": str(timestamp),
            "X-Internal-Signature": sign(secret, *signed, timestamp),
            "X-Internal-Signature-V2": sign_v2(secret, method, target, timestamp, run, body),
        }
        if run:
            headers["X-Internal-Run"] = run
        if body:
            headers["Content-Type"] = "application/json"
        url = f"{self._base_url}{target}"
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._client.stream(method, url, headers=headers, content=body or None) as response,
            ):
                answer = await read_body(response, _MAX_LIST_BYTES if method == "GET" else _MAX_BODY_BYTES)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            # Its text may quote the server's answer, which may quote our request.
            raise BackendDown(f"{method} {self._base_url}{path}: {reason_of(error)}") from None
        return _Reply(f"{method} {path}", response.status_code, answer, wait_of(response.headers))

    def _unanswered(self, reply: _Reply, asked: str = "") -> BackendDown | BadQuestion:
        if reply.status not in _PASSING and 400 <= reply.status < 500:  # noqa: PLR2004 - the client's errors
            return BadQuestion(f"{reply.call} answered {reply.status}: the backend calls the question wrong{asked}")
        return self._down(reply)

    def _down(self, reply: _Reply) -> BackendDown:
        return BackendDown(
            f"{reply.call} answered {reply.status}",
            refused=_is_refusal(reply.status),
            retry_after=reply.retry_after,
        )


def _request(callback: Callback, form: Form) -> tuple[str, Mapping[str, object]]:
    """Return path and body of a callback."""
    urls = [f"cos://{key}" for key in callback.outputs]
    success = callback.status == "success"
    if form == "steps":
        failure = {"error_message": callback.message, "error_code": callback.code}
        output = _output(urls) | _more(callback) if success else failure
        return f"{_step_path(callback.task, callback.step)}/callback", {"status": callback.status, "output": output}
    document: dict[str, object] = {"taskId": callback.task, "status": "done" if success else "failed"}
    document |= {"resultUrls": urls, **_more(callback)} if success else {"errorReason": callback.message}
    if callback.vendor_task_id:
        document["vendorTaskId"] = callback.vendor_task_id
    if callback.step:
        # The older form knows no steps; the signature covers the index, so it is sent when it is not 0.
        document["stepIndex"] = callback.step
    return "/internal/task/update", document


def _more(callback: Callback) -> dict[str, object]:
    """Return the fields of a success that only some have."""
    found: dict[str, object] = {"text": callback.text} if callback.text else {}
    return found | ({"degraded": callback.degraded} if callback.degraded else {})


def _output(urls: list[str]) -> dict[str, object]:
    videos = [url for url in urls if url.endswith(".mp4")]
    # The backend reads the output of a video step as `{video_url}` (docs/backend.md).
    return {"resultUrls": urls, "count": len(urls), **({"video_url": videos[0]} if videos else {})}


def _step_path(task: str, step: int) -> str:
    return f"/api/internal/tasks/{quote(task, safe='')}/steps/{step}"


def _shown(body: bytes) -> str:
    """Return a body as people may see it. Redacted before it is cut: half a secret would not be recognised."""
    return redact_text(body[: 8 * _SHOWN].decode("utf-8", "replace"))[:_SHOWN]


def _state_of(body: bytes) -> str:
    try:
        status = msgspec.json.decode(body, type=_State).status
    except _UNREADABLE:
        # A 409 that does not say which state it means is no proof that it is ours.
        return ""
    return _STATES.get(status, "")


def _is_success(http_status: int) -> bool:
    return 200 <= http_status < 300  # noqa: PLR2004 - the 2xx class


def _is_refusal(http_status: int) -> bool:
    return http_status in {401, 403}
