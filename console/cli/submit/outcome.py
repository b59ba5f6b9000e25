"""Submissions and outcomes of `scf-workers submit`, the same through the API and without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from console.cli.terminal import say, say_json

__all__ = ["AT_ONCE", "Outcome", "Priority", "Submission", "report"]

AT_ONCE: Final = 4
"""Tasks that are bought and uploaded at the same time."""

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
    status: str
    """`success`, `failed` or `cancelled`; `pending` without a verdict in time, `submitted` if it was not waited for."""
    files: tuple[str, ...] = ()
    text: str = ""
    """Result of a kind that sells a text."""
    degraded: tuple[str, ...] = ()
    ending: str = ""
    """Description of an end without results."""
    remedy: str = ""
    trace_id: str = ""

    @property
    def is_well(self) -> bool:
        """True if it succeeded, or was not waited for."""
        return self.status in {"success", "submitted"}


def report(outcomes: Sequence[Outcome], submission: Submission) -> None:
    """Print how the tasks ended, for people or as one JSON object."""
    if submission.quiet:
        say_json({"tasks": msgspec.to_builtins(outcomes)})
        return
    for one in outcomes:
        if one.status != "submitted":
            _show(one, submission, f"task {one.task_id}: " if len(outcomes) > 1 else "")


def _show(outcome: Outcome, submission: Submission, name: str) -> None:
    if outcome.status == "success":
        say(name + (outcome.text or f"success: {len(outcome.files)} files in {submission.out / outcome.task_id}"))
        if outcome.degraded:
            say(f"{name}degraded: {', '.join(outcome.degraded)}")
    else:
        say(f"{name}{outcome.ending}\n-> {outcome.remedy}")
    if outcome.trace_id:
        say(f"trace {outcome.trace_id}")
