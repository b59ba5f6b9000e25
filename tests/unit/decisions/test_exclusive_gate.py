"""Many shared holders, or one isolated: under every interleaving and cancellation."""

from __future__ import annotations

import asyncio

from hypothesis import example, given, settings
from hypothesis import strategies as st

from consumers.runners.exclusive_gate import ExclusiveGate


class Room:
    """Tasks inside the gate; fails as soon as an exclusive one is not alone."""

    def __init__(self) -> None:
        self.gate = ExclusiveGate()
        self.inside: list[str] = []
        self.order: list[str] = []
        self.most = 0

    async def visit(self, name: str, *, isolated: bool, turns: int = 0, stay: asyncio.Event | None = None) -> None:
        if isolated:
            while rest := await self.gate.enter_isolated():  # noqa: ASYNC110 - it is told how long to wait
                await asyncio.sleep(rest)
        else:
            await self.gate.enter()
        try:
            self.inside.append(name)
            self.order.append(name)
            self.most = max(self.most, len(self.inside))
            try:
                self.check()
                for _ in range(turns):
                    await asyncio.sleep(0)
                    self.check()
                if stay is not None:
                    await stay.wait()
                self.check()
            finally:
                self.inside.remove(name)
        finally:
            (self.gate.leave_isolated if isolated else self.gate.leave)()

    def check(self) -> None:
        alone = [name for name in self.inside if name.startswith("alone")]
        assert not alone or len(self.inside) == 1, self.inside


async def settle() -> None:
    """Let all tasks run until they wait."""
    for _ in range(30):
        await asyncio.sleep(0)


async def test_many_are_inside_together() -> None:
    room, leave = Room(), asyncio.Event()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for n in range(5):
            group.create_task(room.visit(f"beside-{n}", isolated=False, stay=leave))
        await settle()
        assert room.most == 5
        leave.set()


async def test_one_alone_waits_for_those_inside_and_keeps_the_others_out() -> None:
    room = Room()
    first_leaves, alone_leaves = asyncio.Event(), asyncio.Event()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(room.visit("beside-1", isolated=False, stay=first_leaves))
        await settle()
        group.create_task(room.visit("alone-1", isolated=True, stay=alone_leaves))
        await settle()
        group.create_task(room.visit("beside-2", isolated=False))
        await settle()
        assert room.inside == ["beside-1"]
        first_leaves.set()
        await settle()
        # Later tasks did not overtake.
        assert room.inside == ["alone-1"]
        alone_leaves.set()
    assert room.order == ["beside-1", "alone-1", "beside-2"]


async def test_one_alone_is_not_overtaken_by_an_endless_stream() -> None:
    room, entered = Room(), asyncio.Event()

    async def stream() -> None:
        n = 0
        while not entered.is_set():
            n += 1
            # Two at a time, so that without the queue the room would never be empty.
            await asyncio.gather(*(room.visit(f"beside-{n}-{k}", isolated=False, turns=k) for k in (1, 4)))

    async def alone() -> None:
        await settle()
        await room.visit("alone", isolated=True)
        entered.set()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(stream())
        group.create_task(alone())
    assert "alone" in room.order


async def test_several_alone_take_turns_and_then_the_others_come() -> None:
    room = Room()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for n in range(4):
            group.create_task(room.visit(f"alone-{n}", isolated=True, turns=3))
            group.create_task(room.visit(f"beside-{n}", isolated=False, turns=3))
    assert len(room.order) == 8
    assert room.most > 1


async def test_who_gives_up_waiting_to_be_alone_lets_the_others_in() -> None:
    room, leave = Room(), asyncio.Event()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(room.visit("beside-1", isolated=False, stay=leave))
        await settle()
        waiting = group.create_task(room.visit("alone", isolated=True))
        await settle()
        group.create_task(room.visit("beside-2", isolated=False, stay=leave))
        await settle()
        assert room.inside == ["beside-1"]
        waiting.cancel()
        await settle()
        assert room.inside == ["beside-1", "beside-2"]
        leave.set()


VISITS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 6), st.none() | st.integers(0, 12)),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=60)
@given(VISITS)
@example([(False, 1, 0, None), (True, 1, 0, None), (False, 0, 0, 3), (True, 0, 1, 2)])
def test_no_interleaving_and_no_cancellation_breaks_it(visits: list[tuple[bool, int, int, int | None]]) -> None:
    """(alone, turns inside, turn of arrival, turn of cancellation) for each visitor."""

    async def body() -> None:
        room = Room()

        async def visitor(n: int, *, isolated: bool, turns: int, arrival: int) -> None:
            for _ in range(arrival):
                await asyncio.sleep(0)
            await room.visit(f"{'alone' if isolated else 'beside'}-{n}", isolated=isolated, turns=turns)

        tasks = [
            asyncio.create_task(visitor(n, isolated=isolated, turns=turns, arrival=arrival))
            for n, (isolated, turns, arrival, _) in enumerate(visits)
        ]
        for turn in range(13):
            for task, (*_, cancelled) in zip(tasks, visits, strict=True):
                if cancelled == turn:
                    task.cancel()
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert not [error for error in found if isinstance(error, AssertionError)]
            # Whichever task was cancelled, and wherever, no task is left inside.
            await room.visit("alone-last", isolated=True)
            await room.visit("beside-last", isolated=False)

    asyncio.run(body())
