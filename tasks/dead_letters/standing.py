"""The run that a dead letter is about, and the runs after it, as far as a replay is decided by them."""

from __future__ import annotations

import base64
import binascii
from enum import StrEnum
from typing import TypeVar

import msgspec

from messages.bodies import Reason
from messages.codec import NO_ID, Message, try_decode
from messages.errors import BadSignature, Permanent
from messages.keys import RunId
from messages.signing import MessageKeys
from services.concurrency import Together
from tasks.dead_letters.letters import Letter
from tasks.ledger.ledger import Ledger
from tasks.ledger.names import RecordBase, RecordName
from tasks.ledger.records import Accepted, DeadLetter, Delivered, Erased, ReopenDenied, Reopened, Verdict
from tasks.wakes import current_run

__all__ = ["Case", "NoRun", "RunState", "Standing", "read_case", "read_standing", "run_of"]

N = TypeVar("N", bound=RecordBase)


class NoRun(StrEnum):
    """Reason why a letter leads to no run."""

    UNREADABLE = "unreadable"
    """This build cannot read the letter or its original."""
    BAD_SIGNATURE = "bad_signature"
    """The original is signed wrongly, or not at all."""


class RunState(msgspec.Struct, frozen=True):
    """State of a run by its records."""

    run: RunId
    accepted: Accepted | None = None
    verdict: Verdict | None = None
    delivered: Delivered | None = None
    denied: bool = False
    """The backend did not agree to it."""
    erased: bool = False
    """The data of its user was erased."""

    @property
    def refunded(self) -> bool:
        """True if the backend has acknowledged that it failed."""
        ended = self.verdict is not None and self.verdict.status != "success"
        return ended and self.delivered is not None and not self.delivered.conflict


class Standing(msgspec.Struct, frozen=True):
    """The run of a letter, and every later run of its step."""

    own: RunState
    later: tuple[RunState, ...] = ()
    readable: bool = True
    """False if this build cannot read one of their records."""

    @property
    def current(self) -> RunState:
        """The last run that was not denied."""
        return next((state for state in reversed(self.later) if not state.denied), self.own)

    @property
    def next_run(self) -> int:
        """Number of the next new run."""
        return (self.later[-1] if self.later else self.own).run.run + 1


class Case(msgspec.Struct, frozen=True):
    """A letter with the standing of its run."""

    letter: Letter
    standing: Standing | NoRun

    @property
    def kind(self) -> str:
        """Kind of the task; empty if it is not known."""
        accepted = self.standing.own.accepted if isinstance(self.standing, Standing) else None
        return accepted.kind if accepted else ""

    @property
    def refunded(self) -> bool:
        """True if the letter's own run failed and the backend knows it."""
        return isinstance(self.standing, Standing) and self.standing.own.refunded


def run_of(letter: DeadLetter | None, keys: MessageKeys) -> RunId | NoRun:
    """Return the run of a letter; of one that was unreadable, the run of its original, if this build can read that.

    Args:
        letter: the letter's record; None if it cannot be read.
        keys: that the original's signature is checked with.
    """
    if letter is None:
        return NoRun.UNREADABLE
    if letter.reason != Reason.UNREADABLE:
        return RunId(letter.user, letter.task, letter.step, letter.run)
    found = try_decode(_original(letter), keys)
    if isinstance(found, Message) and NO_ID not in {found.header.user, found.header.task}:
        return found.header.run_id
    return NoRun.BAD_SIGNATURE if isinstance(found, BadSignature) else NoRun.UNREADABLE


def _original(letter: DeadLetter) -> bytes:
    if letter.encoding == "text":
        return letter.original.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(letter.original, validate=True) if letter.encoding == "base64" else b""
    except (binascii.Error, ValueError):
        return b""


async def read_case(letter: Letter, ledger: Ledger, keys: MessageKeys) -> Case:
    """Read the standing of a letter's run.

    Raises:
        services.errors.ObjectsDown: the store did not answer.
    """
    run = run_of(letter.record, keys)
    return Case(letter, run if isinstance(run, NoRun) else await read_standing(run, ledger))


async def read_standing(run: RunId, ledger: Ledger) -> Standing:
    """Read the records of a run, and of every later run of its step.

    Args:
        run: the run; its number may be `tasks.wakes.LATEST`.
        ledger: the ledger.

    Raises:
        services.errors.ObjectsDown: the store did not answer.
    """
    try:
        own = await _read_state(await current_run(run, ledger), ledger)
        later: list[RunState] = []
        number = own.run.run + 1
        while (state := await _read_state(msgspec.structs.replace(run, run=number), ledger)).accepted:
            later.append(state)
            number += 1
    except Permanent:
        return Standing(RunState(run), readable=False)
    return Standing(own, tuple(later))


async def _read_state(run: RunId, ledger: Ledger) -> RunState:
    async def read(name: RecordName[N]) -> N | None:
        stored = await ledger.read(run, name)
        return stored.record if stored else None

    async with Together() as group:
        accepted = group.create_task(read(Accepted.at()))
        verdict = group.create_task(read(Verdict.at()))
    if run.run and accepted.result() is None:
        return RunState(run)
    delivered = await read(Delivered.at()) if verdict.result() else None
    denied = bool(run.run) and await read(ReopenDenied.at()) is not None and await read(Reopened.at()) is None
    erased = (delivered is not None or denied) and await read(Erased.at()) is not None
    return RunState(run, accepted.result(), verdict.result(), delivered, denied, erased)
