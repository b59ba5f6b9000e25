"""A record that was read or written is not read again; an absent one is."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from messages.codes import Code
from messages.keys import RunId
from services.objects.memory import MemoryObjects
from tasks.ledger.cache import CAPACITY, FinalCache
from tasks.ledger.ledger import Ledger
from tasks.ledger.records import CallEnd, Verdict

RUN = RunId("u1", "t1")


class Gets:
    """Counts the reads of a store."""

    def __init__(self, objects: MemoryObjects) -> None:
        self.count = 0
        objects.faults = self

    async def __call__(self, operation: str, key: str, *, done: bool) -> None:
        self.count += operation == "get" and not done


async def test_a_record_is_read_once(ledger_of: Callable[[str], Ledger], objects: MemoryObjects) -> None:
    await ledger_of("a").write(RUN, Verdict.at(), Verdict("failed", Code.TIMEOUT))
    other, gets = ledger_of("b"), Gets(objects)
    first = await other.read(RUN, Verdict.at())
    assert first is not None
    assert await other.read(RUN, Verdict.at()) == first
    assert gets.count == 1


async def test_a_record_that_was_written_is_not_read(ledger: Ledger, objects: MemoryObjects) -> None:
    gets = Gets(objects)
    mine = await ledger.write(RUN, Verdict.at(), Verdict("failed", Code.TIMEOUT))
    found = await ledger.read(RUN, Verdict.at())
    assert found is not None
    assert (mine.mine, found.mine) == (True, False)
    assert (found.record, found.at) == (mine.record, mine.at)
    again = await ledger.write(RUN, Verdict.at(), Verdict("success"))
    assert (again.record, again.mine) == (mine.record, False)
    assert gets.count == 0


async def test_an_absence_is_read_again_and_again(
    ledger: Ledger, ledger_of: Callable[[str], Ledger], objects: MemoryObjects
) -> None:
    gets = Gets(objects)
    for _ in range(3):
        assert await ledger.read(RUN, Verdict.at()) is None
    assert gets.count == 3
    await ledger_of("other").write(RUN, Verdict.at(), Verdict("failed", Code.TIMEOUT))
    assert await ledger.verdict(RUN) is not None


async def test_a_loser_keeps_what_is_stored(ledger: Ledger, ledger_of: Callable[[str], Ledger]) -> None:
    await ledger_of("other").write(RUN, CallEnd.at(1, 1), CallEnd("failed", Code.BUSY))
    lost = await ledger.write(RUN, CallEnd.at(1, 1), CallEnd("not_accepted"))
    found = await ledger.read(RUN, CallEnd.at(1, 1))
    assert found is not None
    assert (lost.record, lost.mine) == (found.record, False)


async def test_records_of_other_runs_are_others(ledger: Ledger) -> None:
    await ledger.write(RUN, Verdict.at(), Verdict("failed", Code.TIMEOUT))
    assert await ledger.verdict(RunId("u1", "t1", 0, 1)) is None
    assert await ledger.verdict(RunId("u2", "t1")) is None


@given(st.lists(st.integers(0, 40)))
def test_it_is_bounded_and_keeps_what_was_used_last(keys: list[int]) -> None:
    cache: FinalCache[str] = FinalCache(8)
    for key in keys:
        found = cache.get(str(key))
        assert found in {None, f"value {key}"}
        if found is None:
            cache.put(str(key), f"value {key}")
    assert len(cache) <= 8
    last = list(dict.fromkeys(reversed(keys)))[:8]
    assert all(cache.get(str(key)) == f"value {key}" for key in last)


async def test_a_process_keeps_a_bounded_number(ledger: Ledger) -> None:
    for number in range(CAPACITY + 10):
        await ledger.write(RunId("u1", f"t{number}"), Verdict.at(), Verdict("failed", Code.TIMEOUT))
    assert len(ledger.cache) == CAPACITY
