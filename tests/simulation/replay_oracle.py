"""The promise of replays, as rules that a history is judged by."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from messages.keys import RunId
from services.backend import Answer, Callback
from tasks.dead_letters.selection import Selection, select
from tasks.ledger.records import Accepted, Delivered, ReopenDenied, Reopened, Reopening, Verdict
from tests.engine.harness import Harness

__all__ = ["Judge"]

_LATE_S: Final = 60.0
"""Seconds after which a callback of an older run cannot have been under way when the later run was opened."""


class Judge:
    """Watches callbacks, and judges a history at its end.

    Args:
        harness: of the history.
        runs: the first run of each task.
        ends: counts the results of the tasks.
    """

    def __init__(self, harness: Harness, runs: Sequence[RunId], ends: Counter[str]) -> None:
        self._harness = harness
        self._runs = runs
        self._ends = ends
        self._opened: dict[tuple[str, int], float] = {}
        self._violations: list[str] = []
        backend = harness.backend
        deliver, reopen = backend.deliver, backend.reopen

        async def watched_deliver(callback: Callback) -> Answer:
            later = [at for (task, run), at in self._opened.items() if task == callback.task and run > callback.run]
            if later and self._now() - min(later) > _LATE_S:
                self._violations.append(f"{callback.task}: run {callback.run} is called back after a later one is open")
            return await deliver(callback)

        async def watched_reopen(task: str, step: int, run: int) -> bool:
            try:
                return await reopen(task, step, run)
            finally:
                if backend.book.steps(task)[0]["run"] == run:
                    self._opened.setdefault((task, run), self._now())

        backend.deliver, backend.reopen = watched_deliver, watched_reopen  # type: ignore[method-assign]

    async def judge(self) -> list[str]:
        """Return the promises that were broken."""
        for run in self._runs:
            await self._judge(run)
        return self._violations

    async def _judge(self, run: RunId) -> None:
        (row,) = self._harness.backend.book.steps(run.task)
        status, charges, refunds = row["status"], row["charges"], row["refunds"]
        self._ends[f"{status}, run {row['run']}"] += 1
        if charges - refunds != (status == "success"):
            self._say(run, f"{status}: charged {charges}, refunded {refunds}")
        if status == "pending":
            self._say(run, "the backend waits for ever")
        begun = await self._later_runs(run, status)
        # Each failure of a new run has a letter of its own, which may begin another.
        letters = [
            case.letter
            for case in await select(Selection(), self._harness.ledger, self._harness.out.keys)
            if case.letter.record is not None and case.letter.record.task == run.task
        ]
        if begun > len({letter.record.run for letter in letters if letter.record}):
            self._say(run, f"{begun} runs of {len(letters)} letters")
        audited = {audit.run for letter in letters for audit in letter.replays if audit.action == "new_run"}
        if len(audited) < begun:
            self._say(run, f"{begun} runs, {len(audited)} of them with an audit record")
        await self._judge_shown(run, status, row["run"])

    async def _later_runs(self, run: RunId, status: str) -> int:
        """Judge every run after the first; the number of those that were not denied."""
        number = begun = 0
        while True:
            number += 1
            later = msgspec.structs.replace(run, run=number)
            if await self._read(later, Accepted) is None:
                return begun
            denied, opened = await self._read(later, ReopenDenied), await self._read(later, Reopened)
            asking = await self._read(later, Reopening)
            asked = asking is not None and asking.asked
            begun += denied is None
            if opened and denied:
                self._say(later, "both opened and denied")
            if not asked and (later.task, number) in self._opened:
                self._say(later, "the backend was asked, and no record says so")
            # A question that never arrived has charged nothing, and a cancelled task is refunded: such a run may wait
            # for the next replay.
            if (later.task, number) in self._opened and status != "cancelled":
                verdict = await self._read(later, Verdict)
                if verdict is None or await self._read(later, Delivered) is None:
                    self._say(later, f"opened, and not brought to its end ({status})")

    async def _judge_shown(self, run: RunId, status: str, number: int) -> None:
        shown = await self._harness.outputs(run)
        verdict = await self._read(msgspec.structs.replace(run, run=number), Verdict)
        wanted = len(verdict.manifest) if status == "success" and verdict else 0
        if len(shown) != wanted:
            self._say(run, f"{len(shown)} results are shown of {wanted}, {status}")

    async def _read(self, run: RunId, kind: type) -> object:  # type: ignore[type-arg]
        stored = await self._harness.ledger.read(run, kind.at())
        return stored.record if stored else None

    def _say(self, run: RunId, text: str) -> None:
        self._violations.append(f"{run.stem}: {text}")

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
