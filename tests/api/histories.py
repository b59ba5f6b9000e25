"""Writes records of runs as the stages do, for tests that look at a state."""

from __future__ import annotations

import msgspec

from messages.codes import Code
from messages.keys import Facts, RunId
from tasks.ledger.ledger import Ledger
from tasks.ledger.records import (
    Accepted,
    Begun,
    Delivered,
    InputRef,
    ManifestItem,
    Verdict,
    Waits,
)

__all__ = ["CANCELLED", "FAILED", "accept", "begin", "deliver", "end", "succeed", "wait"]


async def accept(ledger: Ledger, run: RunId, *, kind: str = "model_pose12", created: float = 0.0) -> None:
    """The task is accepted and in the lists."""
    at = created or ledger.now()
    record = Accepted(kind=kind, params={}, inputs=(InputRef("k", "e", 1),), created=at, deadline=at + 1800)
    await ledger.write(run, Accepted.at(), record)
    await ledger.index(run.user, run.task, at)


async def begin(ledger: Ledger, run: RunId, stage: str = "clean") -> None:
    """A stage's message begins its work."""
    await ledger.write(run, Begun.at(stage, 0, 1 if stage in {"generate", "poll"} else None), Begun("m", 0, 60.0))


async def wait(ledger: Ledger, run: RunId, why: str, *, stage: str = "clean", seq: int = 0) -> None:
    """A stage's message is snoozed."""
    now = ledger.now()
    await ledger.write(run, Waits.at(stage, seq, 1 if stage == "generate" else None), Waits(why, now + 30, now))


async def end(ledger: Ledger, run: RunId, verdict: Verdict) -> None:
    """The run ends."""
    await ledger.write(run, Verdict.at(), verdict)


async def succeed(ledger: Ledger, run: RunId, *names: str) -> None:
    """The run ends well, with these results."""
    folder = f"output/{run.user}/{run.task}/"
    items = tuple(ManifestItem(f"staging/{name}", folder + name, "e", 7) for name in names)
    await end(ledger, run, Verdict("success", manifest=items))


async def deliver(
    ledger: Ledger, run: RunId, *, contrary: bool = False, kind: str = "model_pose12", facts: Facts | None = None
) -> None:
    """The backend has the verdict."""
    verdict = await ledger.verdict(run)
    assert verdict is not None
    state, code = verdict.status, str(verdict.code)
    known = facts or Facts(ledger.now(), kind, state, code, 1, 2, "")
    await ledger.enter_done(run, msgspec.structs.replace(known, state=state, code=code))
    await ledger.write(run, Delivered.at(), Delivered(409 if contrary else 200, contrary, contrary))


FAILED = Verdict("failed", Code.VENDOR_FAILED)
CANCELLED = Verdict("cancelled", Code.CANCELLED)
