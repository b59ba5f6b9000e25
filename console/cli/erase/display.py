"""Output of the command `scf-workers erase`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from console.cli.terminal import say
from tasks.erasing.survey import Survey

__all__ = ["erasure_document", "show_erasure"]


def erasure_document(found: Survey, left: Survey | None) -> Mapping[str, Any]:
    """Return the erasure as `--json` prints it.

    Args:
        found: the user's data before.
        left: the user's data afterwards; None for a dry run.
    """
    return {
        "user": found.user,
        "dry_run": left is None,
        "folders": msgspec.to_builtins(found.folders),
        "records": found.records,
        "entries": len(found.entries),
        "unfinished": [
            {"task": one.run.task, "step": one.run.step, "run": one.run.run, "ended": one.ended}
            for one in found.unfinished
        ],
        "complete": left is not None and left.empty,
    }


def show_erasure(found: Survey, left: Survey | None) -> None:
    """Print the counts of an erasure, one line for each folder; see `erasure_document`."""
    dry = left is None
    say(f"{found.user}: " + ("nothing to erase" if found.empty else "a dry run" if dry else "erased"))
    for folder in found.folders:
        say(f"  {folder.prefix}  objects {folder.objects}, bytes {folder.bytes}")
    say(f"  records with content, which keep their ids  {found.records}")
    say(f"  tasks in the lists  {len(found.entries)}")
    for one in found.unfinished:
        said = "ended, and the backend has not acknowledged it" if one.ended else "unfinished"
        say(f"  task {one.run.task}, step {one.run.step}, run {one.run.run}: {said}")
    if dry and not found.empty:
        say("--yes erases it; that cannot be undone")
    elif left is not None and not left.empty:
        say("new data came meanwhile: give the command again")
