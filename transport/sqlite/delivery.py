"""The one task between the loop and the file.

Whatever tasks ask for (publish, ack, release, …) is queued; each round takes all of it, adds what consumers want, and
does it in one transaction: many tasks share one commit and one trip to the store's thread. `:memory:` takes the same
way without a thread, on the loop, so that virtual time works.
"""

from __future__ import annotations

import asyncio
import math
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Generic, Protocol, TypeVar

from transport.errors import BrokerDown, Closed
from transport.sqlite.peers import NoPeers
from transport.sqlite.store import Lease, Store

__all__ = ["DeliveryLoop", "Maintenance", "Member", "Runner"]

T = TypeVar("T")
Maintenance = Callable[[Store], None]

_MAX_REQUESTS: Final = 500
"""Requests in one transaction: other processes wait for some milliseconds at most."""
_RETRY_AFTER: Final = 1.0
"""Seconds until leases are tried again after the file failed."""
_MIN_SLEEP: Final = 0.001
"""Shortest sleep until a message is due: the broker's clock and the loop's never agree to the microsecond."""


class Runner:
    """Where the store runs: a thread of its own, or on the loop."""

    def __init__(self, *, threaded: bool) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="sqlite-broker") if threaded else None

    async def run(self, work: Callable[[], T]) -> T:
        """Do blocking work."""
        if self._executor is None:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def close(self) -> None:
        """Let the thread end after what it does."""
        if self._executor is not None:
            self._executor.shutdown(wait=False)


class Member(Protocol):
    """A consumer as the pump sees it."""

    @property
    def queues(self) -> Sequence[int]:
        """Queues to claim from, the one whose turn it is first."""
        ...

    @property
    def waiting(self) -> int:
        """Calls of `receive` that wait."""
        ...

    @property
    def wanted(self) -> int:
        """How many messages it would take now."""
        ...

    def deliver(self, leases: Sequence[Lease]) -> None:
        """Take over messages."""
        ...

    def fail(self, reason: str) -> None:
        """The file failed: raise `BrokerDown` from every `receive` that waits."""
        ...

    def drop_prefetched(self) -> list[int]:
        """The lease ended, others may have what is not handed out yet: drop it and return its rows."""
        ...

    def stop(self) -> None:
        """End every `receive` and demand nothing more."""
        ...


class _Request(Generic[T]):
    """One thing to do in the store, and who waits for it."""

    def __init__(self, work: Callable[[Store], T], *, write: bool) -> None:
        self._work = work
        self._result: T
        self.write = write
        self.future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def run(self, store: Store) -> None:
        self._result = self._work(store)

    def settle(self) -> None:
        if not self.future.done():
            self.future.set_result(self._result)

    def fail(self, error: BaseException) -> None:
        if self.future.done():
            return
        if isinstance(error, asyncio.CancelledError):
            self.future.cancel()
        else:
            self.future.set_exception(error)


class _Demand:
    """What a consumer wants, and what it gets."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.limit = member.wanted
        self.queues = tuple(member.queues)
        self.leases: list[Lease] = []

    @property
    def unsatisfied(self) -> bool:
        return len(self.leases) < self.limit


class _Round:
    """One trip to the store."""

    def __init__(
        self,
        maintenance: Sequence[Maintenance],
        requests: Sequence[_Request[Any]],
        demands: Sequence[_Demand],
        now: float,
    ) -> None:
        self.maintenance = maintenance
        self.requests = requests
        self.demands = demands
        self._now = now
        self._committed = False
        self.next_due: float | None = None
        """When somebody who went away unsatisfied can be served."""

    def run(self, store: Store, peers: NoPeers) -> None:
        """Do everything in one transaction, or without one if there is nothing to write."""
        if self._writes(store):
            with store.transaction():
                for work in self.maintenance:
                    work(store)
                self._serve_requests(store)
                for demand in self.demands:
                    demand.leases = store.claim(peers.holder, demand.queues, demand.limit, self._now)
            self._committed = True
            peers.committed(store)
        else:
            self._serve_requests(store)
        waiting = (demand.queues for demand in self.demands if demand.unsatisfied)
        self.next_due = store.next_due({queue for queues in waiting for queue in queues})

    def _writes(self, store: Store) -> bool:
        if self.maintenance or any(request.write for request in self.requests):
            return True
        return any(store.ready(demand.queues, self._now) for demand in self.demands)

    def _serve_requests(self, store: Store) -> None:
        for request in self.requests:
            request.run(store)

    def settle(self) -> None:
        for request in self.requests:
            request.settle()
        for demand in self.demands:
            demand.member.deliver(demand.leases)

    def abort(self, error: BaseException) -> None:
        for request in self.requests:
            request.fail(error)

    def fail(self, error: Exception) -> None:
        """Tell everybody. If it went wrong after the commit, what was claimed is ours nevertheless."""
        reason = f"the broker file failed: {error}"
        for request in self.requests:
            down = BrokerDown(reason)
            down.__cause__ = error
            request.fail(down)
        for demand in self.demands:
            demand.member.deliver(demand.leases if self._committed else ())
            demand.member.fail(reason)


class DeliveryLoop:
    """Runs the store for a broker and its consumers, from its making until `stop`."""

    def __init__(self, store: Store, runner: Runner, peers: NoPeers, clock: Callable[[], float]) -> None:
        self._store = store
        self._runner = runner
        self._peers = peers
        self._clock = clock
        self._members: deque[Member] = deque()
        self._requests: deque[_Request[Any]] = deque()
        self._signal = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._expired_rows: list[int] = []
        self._stopping = False
        self._leaving: asyncio.Future[None] | None = None
        self._task = asyncio.create_task(self._serve(), name="sqlite-broker")

    @property
    def holder(self) -> int:
        """Whose name leases are made in."""
        return self._peers.holder

    def submit(self, work: Callable[[Store], T], *, write: bool = True) -> asyncio.Future[T]:
        """Have something done in the next transaction; `write=False` for what only reads.

        Cancelling the future only stops the waiting.

        Raises:
            transport.errors.Closed: after `stop`.
            transport.errors.BrokerDown: through the future; nothing was stored.
        """
        self._check_open()
        request = _Request(work, write=write)
        self._requests.append(request)
        self._signal.set()
        return request.future

    def wake(self) -> None:
        """Somebody wants messages, or there may be some."""
        self._signal.set()

    def add(self, member: Member) -> None:
        """Serve a consumer.

        Raises:
            transport.errors.Closed: after `stop`.
        """
        self._check_open()
        self._members.append(member)

    def remove(self, member: Member) -> None:
        """Serve it no more."""
        if member in self._members:
            self._members.remove(member)

    def _check_open(self) -> None:
        if self._stopping:
            raise Closed("the broker is closed")

    def stop(self) -> None:
        """Do what was submitted, give back everything, close the store."""
        if not self._stopping:
            self._leaving = self.submit(self._peers.leave)
            self._end()

    def _end(self) -> None:
        self._stopping = True
        for member in self._members:
            member.stop()

    async def finished(self) -> None:
        """Wait for the end, and once raise what went wrong, if anything did."""
        await asyncio.wait({self._task})
        leaving, self._leaving = self._leaving, None
        self._task.result()
        if leaving is not None:
            leaving.result()

    async def _serve(self) -> None:
        try:
            while self._requests or not self._stopping:
                await self._signal.wait()
                self._signal.clear()
                await self._round()
        except BaseException as error:
            self._abort(error)
            raise
        finally:
            self._arm(math.inf)
            self._peers.close()
            await self._runner.run(self._store.close)
            self._runner.close()

    def _abort(self, error: BaseException) -> None:
        """The loop ends, or a mistake of ours: leave nobody waiting."""
        self._end()
        while self._requests:
            self._requests.popleft().fail(error)

    async def _round(self) -> None:
        loop = asyncio.get_running_loop()
        if self._peers.lease_expired(loop.time()):
            self._expired_rows += [row for member in self._members for row in member.drop_prefetched()]
        trip = _Round(self._maintenance(loop.time()), self._take(), self._demands(), self._clock())
        if trip.maintenance or trip.requests or trip.demands:
            try:
                await self._runner.run(lambda: trip.run(self._store, self._peers))
            except (sqlite3.Error, OSError) as error:
                trip.fail(error)
                return self._arm(loop.time() + _RETRY_AFTER)
            except BaseException as error:
                trip.abort(error)
                raise
            trip.settle()
            self._expired_rows.clear()
            self._peers.attach(self.wake)
        due = math.inf if trip.next_due is None else loop.time() + max(trip.next_due - self._clock(), _MIN_SLEEP)
        return self._arm(min(due, self._peers.maintain_at))

    def _maintenance(self, now: float) -> list[Maintenance]:
        """What the broker does for itself; what fails is tried again by and by."""
        maintenance: list[Maintenance] = []
        if self._peers.maintenance_due(now):
            maintenance.append(lambda store: self._peers.maintain(store, now))
        if self._expired_rows:
            maintenance.append(lambda store: store.release(self._expired_rows, self.holder))
        return maintenance

    def _take(self) -> list[_Request[Any]]:
        return [self._requests.popleft() for _ in range(min(len(self._requests), _MAX_REQUESTS))]

    def _demands(self) -> list[_Demand]:
        """Those who wait come before those who only fetch ahead, and everybody is first in turn."""
        self._members.rotate(-1)
        members = sorted(self._members, key=lambda member: member.waiting == 0)
        return [demand for demand in map(_Demand, members) if demand.unsatisfied]

    def _arm(self, at: float) -> None:
        """Come again at a time of the loop's clock, or at once if something is left over."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if at == math.inf else asyncio.get_running_loop().call_at(at, self._signal.set)
        if self._requests:
            self._signal.set()
