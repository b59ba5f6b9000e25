"""The ledger: state without a database, as create-only, final records in a bucket of its own.

Every write goes through `Ledger.write`. It carries a nonce and is never retried by a library; after a 409 or no answer
it reads back, and what it returns is what is *stored*: an answer lost on the way cannot make a winner think that it
lost. An absence only ever permits a create-only write.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Generic, TypeVar

import msgspec

from messages.errors import Permanent
from messages.keys import Facts, RunId, done_key, index_keys, record_key, runs_prefix
from services.concurrency import Together
from services.errors import Denied, Exists, NotFound, ObjectsDown
from services.objects.port import ObjectInfo, Objects
from services.objects.walk import pages
from services.repeat import repeated
from tasks.ledger.cache import FinalCache
from tasks.ledger.names import RecordBase, RecordName
from tasks.ledger.operators import Erasure, Purged, Replayed
from tasks.ledger.records import (
    Accepted,
    Begun,
    CallEnd,
    CallResult,
    Cleaned,
    Collected,
    DeadLetter,
    Delivered,
    Intent,
    JobId,
    Prompted,
    ReopenDenied,
    Reopened,
    Reopening,
    SlotEnd,
    Staged,
    Verdict,
    Waits,
    parse_name,
)
from tasks.ledger.snapshot import Highest, PaidCall, Snapshot

__all__ = ["Ledger", "Stored"]

R = TypeVar("R", bound=RecordBase | DeadLetter | Replayed | Purged | Erasure)
N = TypeVar("N", bound=RecordBase)

_ROOT: Final = "ledger/"
_SKEW: Final = 2.0
"""HTTP dates have whole seconds: a smaller difference between the clocks says nothing."""


class Stored(msgspec.Struct, Generic[R], frozen=True):
    """A record as it is stored."""

    record: R
    mine: bool
    """True if the write that returned it created it."""
    at: float
    """When it was stored, seconds since the epoch, by the store's clock."""


class _Envelope(msgspec.Struct, frozen=True):
    nonce: str
    record: msgspec.Raw


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)


class Ledger:
    """Reads and writes records.

    Args:
        objects: the ledger's bucket: never versioned, closed to clients.
        clock: this machine's clock, seconds since the epoch.
        nonce: makes a new unguessable text; every writer and every staging folder has its own.
        rng: the source of jitter between repeated requests.
    """

    def __init__(
        self,
        objects: Objects,
        *,
        clock: Callable[[], float],
        nonce: Callable[[], str],
        rng: random.Random | None = None,
    ) -> None:
        self.objects = objects
        self.cache: FinalCache[Stored[Any]] = FinalCache()
        self.nonce = nonce
        self._clock = clock
        self._skew = 0.0
        self.rng = rng or random.Random()  # noqa: S311 - jitter

    def now(self) -> float:
        """Return the store's time, from this machine's clock and the last answer."""
        return self._clock() + self._skew

    def learn(self, date: float, asked: float = 0.0) -> None:
        """Set `now` by the store's clock, from an answer of the store.

        Args:
            date: when the store answered, by its clock, seconds since the epoch; 0 if unknown.
            asked: when it was asked, by this machine's clock: a process that froze gets its answer late, which says
                nothing about the clocks. 0 where that is not known.
        """
        now = self._clock()
        difference = date - min(max(date, asked or now), now)
        self._skew = difference if date and abs(difference) > _SKEW else 0.0

    @contextmanager
    def _dated(self) -> Generator[None]:
        """Learn the time also from an answer that refuses: a machine whose clock errs gets no other."""
        asked = self._clock()
        try:
            yield
        except ObjectsDown as error:
            self.learn(error.date, asked)
            raise

    async def ask_time(self) -> float:
        """Ask the store for its time, and return it: for decisions that must not depend on this machine's clock.

        Raises:
            services.errors.ObjectsDown: it did not answer.
        """
        await repeated(self._try_ask_time, self.rng)
        return self.now()

    async def _try_ask_time(self) -> None:
        asked = self._clock()
        with self._dated():
            page = await self.objects.list(_ROOT, limit=1)
        self.learn(page.date, asked)

    async def write(self, run: RunId, name: RecordName[N], record: N) -> Stored[N]:
        """Create a record, or return the one that is stored already.

        Raises:
            services.errors.ObjectsDown: it is not known to be stored.
        """
        key = record_key(run, name.text)
        if (known := self.cache.get(key)) is not None:
            return known
        stored = await self.write_key(key, record)
        self._keep(key, stored)
        return stored

    async def write_key(self, key: str, record: R) -> Stored[R]:
        """Write a record outside a run's folder; see `write`."""
        nonce = self.nonce()
        body = msgspec.json.encode({"nonce": nonce, "record": record})
        # The nonce makes a repeat harmless: a record that an earlier try has stored is read back as ours.
        return await repeated(lambda: self._try_write(key, body, record, nonce), self.rng)

    async def _try_write(self, key: str, body: bytes, record: R, nonce: str) -> Stored[R]:
        asked = self._clock()
        try:
            with self._dated():
                info = await self.objects.put_new(key, body, content_type="application/json")
        except (Exists, ObjectsDown) as error:
            stored = await self._read_key(key, type(record), nonce)
            if stored is None:
                if isinstance(error, Denied):
                    raise
                raise ObjectsDown(f"a record was not stored: {key}") from error
            return stored
        self.learn(info.date, asked)
        return Stored(record, mine=True, at=info.date or self.now())

    async def read(self, run: RunId, name: RecordName[N]) -> Stored[N] | None:
        """Return a record; None without one."""
        key = record_key(run, name.text)
        if (known := self.cache.get(key)) is not None:
            return known
        stored = await repeated(lambda: self._read_key(key, name.kind, ""), self.rng)
        if stored is not None:
            self._keep(key, stored)
        return stored

    def _keep(self, key: str, stored: Stored[N]) -> None:
        # A later caller did not create it.
        self.cache.put(key, Stored(stored.record, mine=False, at=stored.at))

    async def read_key(self, key: str, kind: type[R]) -> Stored[R] | None:
        """Return a record outside a run's folder; None without one. See `read`."""
        return await repeated(lambda: self._read_key(key, kind, ""), self.rng)

    async def verdict(self, run: RunId) -> Verdict | None:
        """Return the run's verdict, if there is one."""
        stored = await self.read(run, Verdict.at())
        return stored.record if stored else None

    async def accepted(self, run: RunId) -> Accepted | None:
        """Return the run's `accepted`, if there is one."""
        stored = await self.read(run, Accepted.at())
        return stored.record if stored else None

    async def is_accepted(self, run: RunId) -> bool:
        """Return True if the run has an `accepted`, readable or not."""
        try:
            return await self.accepted(run) is not None
        except Permanent:
            return True

    async def latest_run(self, user: str, task: str, step: int) -> RunId | None:
        """Return the highest run of a step that was accepted."""
        found: RunId | None = None
        number = 0
        while await self.accepted(candidate := RunId(user, task, step, number)):
            found = candidate
            number += 1
        return found

    async def calls(self, run: RunId, slot: int = 1) -> tuple[PaidCall, ...]:
        """Return every paid call of a slot, found by GET until one is absent: a listing is only a hint."""
        found: list[PaidCall] = []
        while intent := await self.read(run, Intent.at(slot, len(found) + 1)):
            found.append(await self._call(run, slot, len(found) + 1, intent))
        return tuple(found)

    async def every_call(self, run: RunId, slots: int) -> tuple[PaidCall, ...]:
        """Return every paid call of a run.

        Args:
            run: the run.
            slots: its number of slots.
        """
        async with Together() as group:
            found = [group.create_task(self.calls(run, slot)) for slot in range(1, slots + 1)]
        return tuple(call for calls in found for call in calls.result())

    async def slot_ends(self, run: RunId, slots: int) -> dict[int, SlotEnd]:
        """Return the ends of a run's slots, of those that have ended.

        Args:
            run: the run.
            slots: its number of slots.
        """
        async with Together() as group:
            reads = {slot: group.create_task(self.read(run, SlotEnd.at(slot))) for slot in range(1, slots + 1)}
        return {slot: stored.record for slot, read in reads.items() if (stored := read.result())}

    async def call(self, run: RunId, slot: int, n: int) -> PaidCall | None:
        """Return one paid call; None if it was never begun."""
        intent = await self.read(run, Intent.at(slot, n))
        return await self._call(run, slot, n, intent) if intent else None

    async def _call(self, run: RunId, slot: int, n: int, intent: Stored[Intent]) -> PaidCall:
        async with Together() as group:
            job = group.create_task(self.read(run, JobId.at(slot, n)))
            end = group.create_task(self.read(run, CallEnd.at(slot, n)))
        job_id, ended = job.result(), end.result()
        answered = None if job_id or ended else await self.read(run, CallResult.at(slot, n))
        return PaidCall(
            n=n,
            at=intent.at,
            open_s=intent.record.open_s,
            job=job_id.record.job if job_id else "",
            end=ended.record if ended else None,
            slot=slot,
            answered=answered is not None,
            label=intent.record.label,
            vendor=intent.record.vendor,
        )

    async def snapshot(self, run: RunId) -> Snapshot:
        """Return the state of a run, as `next_step` needs it."""
        accepted = await self.accepted(run)
        slots = accepted.slots if accepted else 1
        async with Together() as group:
            verdict = group.create_task(self.verdict(run))
            delivered = group.create_task(self.read(run, Delivered.at()))
            reopening = group.create_task(self._is_reopening(run))
            reopened = group.create_task(self.read(run, Reopened.at()))
            denied = group.create_task(self.read(run, ReopenDenied.at()))
            cleaned = group.create_task(self.read(run, Cleaned.at()))
            prompted = group.create_task(self.read(run, Prompted.at()))
            calls = group.create_task(self.every_call(run, slots))
            ends = group.create_task(self.slot_ends(run, slots))
            staged = group.create_task(self.read(run, Staged.at()))
            begun = group.create_task(self._begun(run))
        return Snapshot(
            run=run,
            accepted=accepted,
            verdict=verdict.result(),
            delivered=(found := delivered.result()) is not None,
            conflict=found is not None and found.record.conflict,
            reopening=reopening.result(),
            reopened=reopened.result() is not None,
            reopen_denied=denied.result() is not None,
            cleaned=cleaned.result() is not None,
            prompted=prompted.result() is not None,
            calls=calls.result(),
            ends=ends.result(),
            staged=staged.result() is not None,
            begun=begun.result(),
        )

    async def _is_reopening(self, run: RunId) -> bool:
        found = await self.read(run, Reopening.at()) if run.run else None
        return found is not None and found.record.asked

    async def _begun(self, run: RunId, stage: str = "") -> tuple[Highest, ...]:
        folder = record_key(run, "")
        highest: dict[tuple[str, int], int] = {}
        async for item in self._walk(folder + Begun.prefix() + stage):
            name = parse_name(item.key.removeprefix(folder))
            if name is not None:
                place = (name.stage, name.slot)
                highest[place] = max(highest.get(place, 0), name.seq)
        return tuple(Highest(stage, slot, seq) for (stage, slot), seq in sorted(highest.items()))

    async def last_wait(self, run: RunId) -> Waits | None:
        """Return the newest record of the run's waits, from a listing: a hint."""
        folder = record_key(run, "")
        found = [(item.modified, item.key.removeprefix(folder)) async for item in self._walk(folder + Waits.prefix())]
        if not found:
            return None
        stored = await self.read(run, RecordName(max(found)[1], Waits))
        return stored.record if stored else None

    async def next_seq(self, run: RunId, stage: str, slot: int = 0) -> int:
        """Return the seq of a message that follows no other of its chain: one above the highest begun, else 0.

        Args:
            run: the run.
            stage: of the messages.
            slot: of generate and poll, from 1; 0 for the other stages.
        """
        return Snapshot(run, begun=await self._begun(run, stage)).next_seq(stage, slot)

    async def newest_collected(self, run: RunId) -> Collected | None:
        """Return the record of the last collect that left off, if there is one; found by a listing, so a hint."""
        folder = record_key(run, "")
        names = [parse_name(item.key.removeprefix(folder)) async for item in self._walk(folder + Collected.prefix())]
        seqs = [name.seq for name in names if name is not None]
        found = await self.read(run, Collected.at(max(seqs))) if seqs else None
        return found.record if found else None

    async def last_begun(self, run: RunId, stage: str, slot: int | None, before: int) -> Begun | None:
        """Return the mark of the last message of a chain before a given one, from a listing; None if there is none.

        Args:
            run: the run.
            stage: of the messages.
            slot: of generate and poll, from 1; None for the other stages.
            before: number of the message.
        """
        folder = record_key(run, "")
        marks = self._walk(folder + Begun.prefix() + stage)
        names = [parse_name(item.key.removeprefix(folder)) async for item in marks]
        chain = [name.seq for name in names if name and (name.stage, name.slot) == (stage, slot or 0)]
        last = max((seq for seq in chain if seq < before), default=None)
        found = None if last is None else await self.read(run, Begun.at(stage, last, slot))
        return found.record if found else None

    async def trail(self, run: RunId) -> Mapping[int, Mapping[str, float]]:
        """Return every record of every run of a step, from a listing: a hint.

        Args:
            run: any run of the step.

        Returns:
            Run's number -> record's name -> when it was stored, seconds since the epoch by the store's clock.
        """
        prefix = runs_prefix(run)
        runs: dict[int, dict[str, float]] = {}
        async for item in self._walk(prefix):
            number, _, name = item.key.removeprefix(prefix).partition("/")
            if number.isdecimal() and name:
                runs.setdefault(int(number), {})[name] = item.modified
        return runs

    async def index(self, user: str, task: str, created: float) -> None:
        """Make the task appear in lists; done twice the entries are the same."""
        async with Together() as group:
            for key in index_keys(user, task, created):
                group.create_task(self._enter(key))

    async def enter_done(self, run: RunId, facts: Facts) -> None:
        """Make a run appear among the delivered ones; done twice the entry is the same."""
        await self._enter(done_key(run, facts))

    async def _enter(self, key: str) -> None:
        try:
            await self.objects.put_new(key, b"")
        except Exists:
            return

    async def record_dead_letter(self, key: str, letter: DeadLetter) -> None:
        """Record a dead letter; the same one twice is one record."""
        await self.write_key(key, letter)

    def walk(self, prefix: str, *, after: str = "") -> AsyncIterator[ObjectInfo]:
        """Return the objects whose key begins with `prefix` and follows `after`, in key order: a hint."""
        return self._walk(prefix, after)

    async def _walk(self, prefix: str, after: str = "") -> AsyncIterator[ObjectInfo]:
        asked = self._clock()
        async for page in pages(self.objects, prefix, self.rng, after=after):
            self.learn(page.date, asked)
            for item in page.items:
                yield item
            asked = self._clock()

    async def _read_key(self, key: str, kind: type[R], nonce: str) -> Stored[R] | None:
        asked = self._clock()
        try:
            with self._dated():
                content = await self.objects.get(key)
        except NotFound:
            return None
        self.learn(content.info.date, asked)
        try:
            envelope = _ENVELOPE.decode(content.body)
            record: Any = msgspec.json.decode(envelope.record, type=kind)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise Permanent(f"the record {key} cannot be read: {error}") from error
        return Stored(record, mine=envelope.nonce == nonce, at=content.info.modified)
