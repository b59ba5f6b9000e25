"""Submissions and outcomes of `scf-workers submit`, the same through the API and without it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from console.cli.arguments import reason
from console.cli.live_view import Row, RowState
from console.cli.terminal import say, say_json, warn
from messages.errors import ScfWorkersError
from telemetry.redaction import redact_text

__all__ = ["AT_ONCE", "Attempt", "Outcome", "Priority", "Submission", "report"]

AT_ONCE: Final = 4
"""Tasks that are bought and uploaded at the same time."""

_ERROR: Final = "error"

Priority = Literal["high", "normal", "low"]
"""Priority of a task among waiting ones."""


class Submission(msgspec.Struct, frozen=True):
    """The same for all tasks of a command."""

    kind: str
    params: Mapping[str, Any]
    user: str
    out: Path
    """Folder for the results."""
    wait_s: float
    """Seconds to wait for the verdicts; 0 does not wait."""
    priority: Priority = "normal"
    quiet: bool = False
    """Print no lines for people: a JSON object follows."""

    def say(self, text: str) -> None:
        """Print a line for people."""
        if not self.quiet:
            say(text)


class Outcome(msgspec.Struct, frozen=True):
    """A task after the command, as `--json` prints it."""

    task_id: str
    """Empty if it was not bought."""
    status: str
    """`success`, `failed` or `cancelled`; `pending` without a verdict in time, `submitted` if it was not waited for.

    `error`: it was not bought, or could not be uploaded, followed or downloaded; a task that was bought goes on without
    the command.
    """
    files: tuple[str, ...] = ()
    text: str = ""
    """Result of a kind that sells a text."""
    degraded: tuple[str, ...] = ()
    ending: str = ""
    """Description of an end without results, or of the error."""
    remedy: str = ""
    trace_id: str = ""
    inputs: tuple[str, ...] = ()
    """Paths of its photos."""

    @property
    def is_well(self) -> bool:
        """True if it succeeded, or was not waited for."""
        return self.status in {"success", "submitted"}


class Attempt:
    """A task of the command while it runs, whose errors are its own and leave the other tasks alone.

    Args:
        inputs: paths of its photos.
        show: shows its row.
    """

    def __init__(self, inputs: Sequence[Path], show: Callable[[Row], None]) -> None:
        self.inputs: Final = inputs
        self.show: Final = show
        self.task_id = ""
        """Empty until it is bought."""

    async def run(self, work: Callable[[Attempt], Awaitable[Outcome]]) -> Outcome:
        """Return the outcome of `work`; status `error` where it raises an error of a service or of a file."""
        names = tuple(map(str, self.inputs))
        try:
            return msgspec.structs.replace(await work(self), inputs=names)
        except ScfWorkersError as error:
            text = str(error)
        except OSError as error:
            text = f"{error.filename}: {reason(error)}" if error.filename else reason(error)
        self.show(Row(self.task_id, _ERROR if self.task_id else f"{_named(names)} {_ERROR}", RowState.FAILED))
        return Outcome(self.task_id, _ERROR, ending=text, inputs=names)


def report(outcomes: Sequence[Outcome], submission: Submission) -> None:
    """Print how the tasks ended, for people or as one JSON object."""
    if submission.quiet:
        say_json({"tasks": msgspec.to_builtins(outcomes)})
        return
    for one in outcomes:
        if one.status not in {"submitted", _ERROR}:
            _show(one, submission, f"task {one.task_id}: " if len(outcomes) > 1 else "")
    _warn([one for one in outcomes if one.status == _ERROR])


def _warn(failed: Sequence[Outcome]) -> None:
    """Print the errors on standard error; one that several tasks that were not bought have in common, once."""
    for text, number in Counter(one.ending for one in failed if not one.task_id).items():
        name = f"{number} tasks"
        if number == 1:
            name = next(_named(one.inputs) for one in failed if one.ending == text and not one.task_id)
        _warn_of(name, text)
    for one in failed:
        if one.task_id:
            _warn_of(f"task {one.task_id}" + (f" ({_named(one.inputs)})" if one.inputs else ""), one.ending)


def _warn_of(name: str, text: str) -> None:
    warn(redact_text(f"scf-workers: {name}: {text}" if name else f"scf-workers: {text}"))


def _named(inputs: Sequence[str]) -> str:
    return ", ".join(Path(one).name for one in inputs)


def _show(outcome: Outcome, submission: Submission, name: str) -> None:
    if outcome.status == "success":
        say(name + (outcome.text or f"success: {len(outcome.files)} files in {submission.out / outcome.task_id}"))
        if outcome.degraded:
            say(f"{name}degraded: {', '.join(outcome.degraded)}")
    else:
        say(f"{name}{outcome.ending}\n-> {outcome.remedy}")
    if outcome.trace_id:
        say(f"trace {outcome.trace_id}")
