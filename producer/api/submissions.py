"""From a request to a task: checks, the backend's sale, `task.json`, acceptance.

A submission that is refused here was not sold. After the sale `task.json` is written first: from then on the task is
accepted even if this process dies, because the sweep finds it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from messages.errors import ScfWorkersError
from messages.keys import RunId
from producer.api.context import Api
from producer.api.http.problems import unusable
from producer.api.wire import MAX_INPUT_CHARS
from recipes.recipe import BadParameters, Recipe, parse_params
from recipes.table import UnknownKind, recipe_of
from services.errors import BackendDown, Exists, FetchRefused, NotFound, TicketRefused
from services.objects.port import Objects
from services.repeat import repeated
from services.sales import Purchase, Sold
from services.urls import HostRules, check_url
from tasks.accepting import tickets
from tasks.accepting.accept import take_in
from tasks.accepting.inputs import is_own_key, source_key, unsupported_format
from tasks.accepting.request import TASK_FILE_LIMIT
from tasks.context import ApiServices
from tasks.wakes import API, publish_wake
from telemetry import logs
from telemetry.events import Event

__all__ = ["Submission", "accept", "check", "check_ticket", "decode", "idempotency_key", "sell", "store", "submit"]

log = logs.get(__name__)

_KEY: Final = re.compile(r"[\x21-\x7e]{1,200}")
_ABSENT: Final = "parameters are no JSON that a ticket can cover"


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """A task that a user asks for."""

    user: str
    kind: str
    params: Mapping[str, Any]
    inputs: tuple[str, ...] = ()
    """https URLs, or keys of the user's own objects."""
    field: str = "inputs"
    """Name that the request gives the inputs."""
    many: bool = True
    """False if that field is a single text."""

    def name_of(self, n: int) -> str:
        """Return the name of an input in the request, from 0: `inputs[0]`."""
        return f"{self.field}[{n}]" if self.many else self.field


def decode(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body.

    Raises:
        producer.api.http.problems.Failure: 422: it is none.
    """
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unusable("the body is no JSON object", "") from error


def idempotency_key(header: str) -> str:
    """Return the key of a purchase: the client's, or a new one.

    Raises:
        producer.api.http.problems.Failure: 422: it cannot be used.
    """
    if not header:
        return secrets.token_hex(16)
    if not _KEY.fullmatch(header):
        raise unusable("must be 1 to 200 visible ASCII characters", "Idempotency-Key")
    return header


async def submit(submission: Submission, key: str, api: Api) -> str:
    """Check, buy and store a task, and begin its acceptance. Returns its id.

    Args:
        submission: the task.
        key: names the purchase: repeating it with the same key is harmless.
        api: of this process.

    Raises:
        producer.api.http.problems.Failure: it was refused, and is not sold.
        messages.errors.ScfWorkersError: a service is away; the same request may be sent again with the same key.
    """
    services = api.services
    recipe = check(submission, services.recipes, services.policy.sources)
    await _find(submission, services.objects)
    sold = await sell(submission, key, len(submission.inputs), services)
    run = RunId(submission.user, sold.task_id)
    await store(run, submission, sold.ticket, services)
    await api.background.run(accept(run, services), api.options.respond_within_s)
    log.info(Event.API_SOLD, user_id=run.user, task_id=run.task, kind=recipe.kind)
    return sold.task_id


def check(submission: Submission, recipes: Mapping[str, Recipe], hosts: HostRules) -> Recipe:
    """Check everything that can be checked before the sale, and return the recipe. Pure.

    Args:
        submission: the task.
        recipes: kinds that are sold.
        hosts: hosts that URLs may lead to.

    Raises:
        recipes.recipe.BadParameters: the kind does not take these parameters.
        producer.api.http.problems.Failure: 422: the kind, an input or the number of inputs; `field` names it.
    """
    try:
        recipe = recipe_of(submission.kind, recipes)
    except UnknownKind as error:
        raise unusable(str(error), "kind", error.code) from error
    params = parse_params(recipe, submission.params)
    count = len(submission.inputs)
    if not recipe.least_inputs <= count <= recipe.most_inputs:
        text = f"{recipe.kind} takes {recipe.least_inputs} to {recipe.most_inputs} inputs, and was given {count}"
        raise unusable(text, submission.field)
    for n, text in enumerate(submission.inputs):
        _check_input(text, submission.user, hosts, submission.name_of(n), videos=recipe.takes_video(n))
    if recipe.most_inputs:
        # Some parameters contradict each other: the recipe finds that when it plans.
        recipe.clean(params, "jpg")
    try:
        tickets.digest(submission.params)
    except ValueError as error:
        raise BadParameters(_ABSENT) from error
    if len(msgspec.json.encode(submission)) > TASK_FILE_LIMIT // 2:
        raise unusable("the request is too long", submission.field)
    return recipe


def _check_input(text: str, user: str, hosts: HostRules, field: str, *, videos: bool) -> None:
    if not 1 <= len(text) <= MAX_INPUT_CHARS:
        raise unusable(f"must have 1 to {MAX_INPUT_CHARS} characters", field)
    if "://" in text:
        try:
            check_url(text, hosts)
        except FetchRefused as refused:
            raise unusable(f"cannot be fetched: {refused}", field) from refused
    elif not is_own_key(user, text):
        raise unusable("must be an https URL, or the key of an object of yours", field)
    elif code := unsupported_format(text, videos=videos):
        raise unusable("this format is not taken", field, code)


async def _find(submission: Submission, objects: Objects) -> None:
    """Check that objects named by their keys are there.

    Raises:
        producer.api.http.problems.Failure: 422: one is not; `field` names it.
    """
    for n, key in enumerate(submission.inputs):
        if "://" not in key:
            try:
                await objects.head(key)
            except NotFound as error:
                raise unusable("there is no such object", submission.name_of(n)) from error


async def sell(submission: Submission, key: str, inputs: int, services: ApiServices) -> Sold:
    """Let the backend sell a task; after no answer it is asked again, which the key makes harmless.

    Args:
        submission: the task.
        key: names the purchase.
        inputs: number of inputs that the task may have.
        services: the bundle of services.

    Raises:
        services.errors.NotSold: it refuses.
        services.errors.BackendDown: no usable answer, or a ticket that is refused.
        services.errors.BadQuestion: it rejects the purchase as malformed.
    """
    asked = {"kind": submission.kind, "params": dict(submission.params), "inputs": list(submission.inputs) or inputs}
    sale = Purchase(
        user=submission.user,
        kind=submission.kind,
        params=submission.params,
        inputs=inputs,
        idempotency_key=key,
        request_digest=tickets.digest(asked),
    )
    sold = await repeated(lambda: services.backend.sell(sale), services.rng)
    try:
        check_ticket(sold.ticket, RunId(submission.user, sold.task_id), submission, inputs, services)
    except TicketRefused as refused:
        # A user who has paid hears at once that the workers would not do it.
        raise BackendDown(f"sold {sold.task_id} with a ticket that is refused: {refused}", unreadable=True) from refused
    return sold


def check_ticket(token: str, run: RunId, submission: Submission, inputs: int, services: ApiServices) -> None:
    """Check that a ticket sells the submission, as the workers will.

    Args:
        token: the ticket; it may be empty where a deployment asks for none.
        run: first run of the step that is sold.
        submission: the task.
        inputs: number of inputs that the task may have.
        services: the bundle of services.

    Raises:
        services.errors.TicketRefused: it does not.
    """
    policy = services.policy
    if not token and not policy.ticket_required:
        return
    ticket = tickets.verify(token, policy.ticket_secret, user=run.user, task=run.task, step=run.step)
    now = services.ledger.now()
    tickets.check_sold(ticket, now=now, kind=submission.kind, params=submission.params, inputs=inputs)


async def store(run: RunId, submission: Submission, ticket: str, services: ApiServices) -> None:
    """Write the `task.json` of a sold step. One that is there already stays: it is of the same purchase.

    Raises:
        services.errors.ObjectsDown: it is not known to be stored.
    """
    key = source_key(run)
    request = {"kind": submission.kind, "params": submission.params, "inputs": submission.inputs, "ticket": ticket}
    body = msgspec.json.encode(request)

    async def write() -> None:
        try:
            await services.objects.put_new(key.folder + key.name, body, content_type="application/json")
        except Exists:
            return

    await repeated(write, services.rng)


async def accept(run: RunId, services: ApiServices) -> None:
    """Take in a sold step; if that fails, publish a wake that does it later. If that fails too, the sweep does."""
    with logs.context(user_id=run.user, task_id=run.task):
        try:
            await take_in(source_key(run), services)
        except ScfWorkersError as error:
            log.warning(Event.API_ACCEPT_LATE, error=error)
            try:
                await publish_wake(run, API, services.broker, services.ledger.now(), keys=services.keys)
            except ScfWorkersError as again:
                log.warning(Event.API_ACCEPT_LATE, error=again)
        except Exception as error:  # noqa: BLE001 - the answer is sent already; the sweep takes it in
            log.error(Event.API_ACCEPT_LATE, error=error)
