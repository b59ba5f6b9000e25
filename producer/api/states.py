"""The state of a task as its user sees it, and lists of tasks. A task of another user does not exist here."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from messages.errors import InvalidKey
from messages.keys import RunId, check_id, user_index_prefix
from producer.api.context import Api
from producer.api.http.problems import Failure, unusable
from producer.api.progress import error_of, moment, waiting_of
from producer.api.watch import Seen, look
from producer.api.wire import (
    ResultFile,
    SlotProgress,
    TaskList,
    TaskStatus,
    TaskSummary,
    Waiting,
)
from services.objects.port import Objects
from tasks.accepting.inputs import is_stored, source_key
from tasks.context import ApiServices
from tasks.ledger.records import ManifestItem
from tasks.lists.pages import entries_of_user, read_views
from tasks.lists.states import FINAL, TaskState, state_of
from tasks.view import View
from telemetry.tracing import trace_id

__all__ = [
    "RESULTS_S",
    "Page",
    "expected_of",
    "find",
    "list_tasks",
    "no_such_task",
    "status_of",
    "step_of",
    "version_of",
]

RESULTS_S: Final = 3600
"""Seconds for which URLs of results are valid."""

_RENEWED_S: Final = 1800
"""Seconds after which a state with results counts as changed, because its URLs have been renewed."""

_BACKGROUND_S: Final = 15.0
"""Seconds of a task without the vendor's work."""

_SCANNED: Final = 200
"""Tasks that one request for a list reads."""

_CURSOR: Final = re.compile(r"[0-9]{13}/[A-Za-z0-9_-]{1,64}")


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A request for a list."""

    limit: int = 20
    cursor: str = ""
    state: TaskState | None = None
    kind: str = ""


def no_such_task() -> Failure:
    """Return the answer for a task that this user does not have."""
    return Failure(404, "there is no such task", code="not_found", message="任务不存在")


def step_of(user: str, task: str, step: int) -> RunId:
    """Return the first run of a step.

    Raises:
        producer.api.http.problems.Failure: 404: an id that no task has.
    """
    try:
        return RunId(user, check_id(task, "task"), step)
    except InvalidKey:
        raise no_such_task() from None


async def find(step: RunId, services: ApiServices) -> tuple[Seen, Waiting | None]:
    """Return a step of a user's task, and why it waits if it has no record yet.

    Raises:
        producer.api.http.problems.Failure: 404: this user has no such task.
        messages.errors.ScfWorkersError: a service is away.
    """
    seen = await look(step, services.ledger)
    if seen.exists:
        return seen, None
    if await is_stored(source_key(step), services.objects):
        return seen, Waiting(why="queued")
    state = await services.backend.known_state(step.task, step.step)
    if state is None or state.user != step.user:
        raise no_such_task()
    return seen, Waiting(why="upload")


def version_of(seen: Seen, now: float) -> str:
    """Return the entity tag of a state."""
    renewed = f"-{int(now / _RENEWED_S)}" if seen.view.results else ""
    return f'W/"{seen.version}{renewed}"'


async def status_of(seen: Seen, before: Waiting | None, api: Api) -> TaskStatus:
    """Return the whole state of a step.

    Args:
        seen: the step.
        before: why it waits, if it has no record.
        api: of this process.

    Raises:
        services.errors.ObjectsDown: no URL could be signed.
    """
    view, now = seen.view, api.services.ledger.now()
    summary = _summary(view)
    visible = view.results if summary.state == "success" else ()
    results = [await _result(item, api.services.objects, now) for item in visible]
    accepted, verdict = view.accepted, view.verdict
    return TaskStatus(
        **{name: getattr(summary, name) for name in summary.__struct_fields__},
        step=seen.run.step,
        progress=SlotProgress(done=view.progress.done, of=view.progress.of),
        waiting=before or waiting_of(view),
        deadline_at=moment(accepted.deadline) if accepted else None,
        expected_seconds=expected_of(seen, summary.state, api),
        results=tuple(results),
        text=(verdict.text or None) if verdict and summary.state == "success" else None,
        degraded=verdict.degraded if verdict else (),
        delivered=view.delivered is not None,
        trace_id=(trace_id(accepted.traceparent) or None) if accepted else None,
    )


async def list_tasks(user: str, page: Page, services: ApiServices) -> TaskList:
    """Return a page of a user's tasks, newest first.

    Args:
        user: the user.
        page: what is asked for.
        services: the bundle of services.

    Raises:
        producer.api.http.problems.Failure: 422: the cursor is not one of ours.
        services.errors.ObjectsDown: the ledger did not answer.
    """
    if page.cursor and not _CURSOR.fullmatch(page.cursor):
        raise unusable("is no cursor of ours", "cursor")
    found: list[TaskSummary] = []
    prefix = user_index_prefix(user)
    after, scanned = f"{prefix}{page.cursor}" if page.cursor else "", 0
    while len(found) < page.limit and scanned < _SCANNED:
        listed = await entries_of_user(user, after, page.limit, services.ledger)
        if not listed:
            return TaskList(tasks=tuple(found))
        for entry, view in zip(listed, await read_views(listed, services.ledger), strict=True):
            after, scanned = entry.key, scanned + 1
            summary = _summary(view)
            if _fits(summary, page):
                found.append(summary)
            if len(found) == page.limit:
                break
    return TaskList(tasks=tuple(found), cursor=after.removeprefix(prefix))


def _summary(view: View) -> TaskSummary:
    state = state_of(view)
    return TaskSummary(
        task_id=view.run.task,
        kind=view.accepted.kind if view.accepted else "",
        state=state,
        stage=None if state in FINAL or view.stage is None else view.stage.value,
        created_at=moment(view.accepted.created) if view.accepted else None,
        error=error_of(view),
    )


def _fits(summary: TaskSummary, page: Page) -> bool:
    return page.state in {None, summary.state} and page.kind in {"", summary.kind}


async def _result(item: ManifestItem, objects: Objects, now: float) -> ResultFile:
    url = await objects.presign(item.target, expires=RESULTS_S)
    return ResultFile(name=item.target.rpartition("/")[2], url=url, expires_at=moment(now + RESULTS_S), size=item.size)


def expected_of(seen: Seen, state: TaskState, api: Api) -> int | None:
    """Return the seconds that are left by experience; at least 1, because it is not finished. None if it is."""
    accepted = seen.view.accepted
    if accepted is None or state in FINAL:
        return None
    recipe = api.services.recipes.get(accepted.kind)
    if recipe is None:
        return None
    recipe = recipe.by(accepted.vendor)
    work = (api.options.expected_s or recipe.expected_s) if recipe.vendor else 0.0
    return max(1, round(accepted.created + _BACKGROUND_S + work - api.services.ledger.now()))
