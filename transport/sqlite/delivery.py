"""Delivery loop: the only task that accesses the broker file.

Requests of other tasks (publish, ack, release, …) are queued. Each round executes the queued requests and the claims
for the consumers in one transaction, so many tasks share a commit and a trip to the store's thread. `:memory:` works
the same way without a thread, on the loop, so that virtual time works.
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
"""Requests per transaction, at most: other processes then wait for only some milliseconds."""
_RETRY_AFTER: Final = 1.0
"""Seconds until the next round after the file failed."""
_MIN_SLEEP: Final = 0.001
"""Shortest sleep until a message is due, in seconds: the broker's clock and the loop's differ by microseconds."""


class Runner:
    """Executes the store's blocking calls, in a dedicated thread or on the loop."""

    def __init__(self, *, threaded: bool) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="sqlite-broker") if threaded else None

    async def run(self, work: Callable[[], T]) -> T:
        """Execute a blocking function and return its result."""
        if self._executor is None:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def close(self) -> None:
        """End the thread after its current work; does not wait."""
        if self._executor is not None:
            self._executor.shutdown(wait=False)


class Member(Protocol):
    """A consumer, as the delivery loop uses it."""

    @property
    def queues(self) -> Sequence[int]:
        """Queues to claim from, in round-robin order."""
        ...

    @property
    def waiting(self) -> int:
        """Number of waiting `receive` calls."""
        ...

    @property
    def wanted(self) -> int:
        """Number of messages that the consumer can take now."""
        ...

    def deliver(self, leases: Sequence[Lease]) -> None:
        """Accept claimed messages."""
        ...

    def fail(self, reason: str) -> None:
        """Raise `BrokerDown` in every waiting `receive`, because the file failed."""
        ...

    def drop_prefetched(self) -> list[int]:
        """Drop the messages that `receive` has not returned, because the lease expired; return their rows."""
        ...

    def stop(self) -> None:
        """End every `receive`; `wanted` is 0 from now on."""
        ...


class _Request(Generic[T]):
    """A function to run on the store, and the future of its result."""

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
    """The demand of a consumer in a round, and the messages claimed for it."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.limit = member.wanted
        self.queues = tuple(member.queues)
        self.leases: list[Lease] = []

    @property
    def unsatisfied(self) -> bool:
        return len(self.leases) < self.limit


class _Round:
    """A round: the maintenance, requests and claims of one trip to the store."""

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
        """Due time of the next message for a consumer whose demand is not met; None if there is none."""

    def run(self, store: Store, peers: NoPeers) -> None:
        """Execute everything in one transaction; without a transaction if there is nothing to write."""
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
        """Fail all requests and waiting consumers. After a failure that follows the commit, the claims are kept."""
        reason = f"the broker file failed: {error}"
        for request in self.requests:
            down = BrokerDown(reason)
            down.__cause__ = error
            request.fail(down)
        for demand in self.demands:
            demand.member.deliver(demand.leases if self._committed else ())
            demand.member.fail(reason)


class DeliveryLoop:
    """Executes requests and claims for a broker and its consumers, from construction until `stop`."""

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
        """Our holder number in the file; leases are made under it."""
        return self._peers.holder

    def submit(self, work: Callable[[Store], T], *, write: bool = True) -> asyncio.Future[T]:
        """Run a function on the store in the next round and return the future of its result.

        Cancelling the future only stops the waiting.

        Args:
            work: the function.
            write: false if the function only reads.

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
        """Start a round: a consumer wants messages, or new messages may be deliverable."""
        self._signal.set()

    def add(self, member: Member) -> None:
        """Start serving a consumer.

        Raises:
            transport.errors.Closed: after `stop`.
        """
        self._check_open()
        self._members.append(member)

    def remove(self, member: Member) -> None:
        """Stop serving a consumer."""
        if member in self._members:
            self._members.remove(member)

    def _check_open(self) -> None:
        if self._stopping:
            raise Closed("the broker is closed")

    def stop(self) -> None:
        """Execute the submitted requests, release all messages and close the store."""
        if not self._stopping:
            self._leaving = self.submit(self._peers.leave)
            self._end()

    def _end(self) -> None:
        self._stopping = True
        for member in self._members:
            member.stop()

    async def finished(self) -> None:
        """Wait for the end; the first call raises the error of the shutdown, if there was one."""
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
        """Fail all queued requests: the event loop ends, or an unexpected error occurred."""
        self._end()
        while self._requests:
            self._requests.popleft().fail(error)

    async def _round(self) -> None:
        loop = asyncio.get_running_loop()
        if self._peers.lease_expired(loop.time()):
            self._expired_rows += [row for member in self._members for row in member.drop_prefetched()]
        round_ = _Round(self._maintenance(loop.time()), self._take(), self._demands(), self._clock())
        if round_.maintenance or round_.requests or round_.demands:
            try:
                await self._runner.run(lambda: round_.run(self._store, self._peers))
            except (sqlite3.Error, OSError) as error:
                round_.fail(error)
                return self._arm(loop.time() + _RETRY_AFTER)
            except BaseException as error:
                round_.abort(error)
                raise
            round_.settle()
            self._expired_rows.clear()
            self._peers.attach(self.wake)
        due = math.inf if round_.next_due is None else loop.time() + max(round_.next_due - self._clock(), _MIN_SLEEP)
        return self._arm(min(due, self._peers.maintain_at))

    def _maintenance(self, now: float) -> list[Maintenance]:
        """Return the broker's own work for this round; failed work is repeated in a later round."""
        maintenance: list[Maintenance] = []
        if self._peers.maintenance_due(now):
            maintenance.append(lambda store: self._peers.maintain(store, now))
        if self._expired_rows:
            maintenance.append(lambda store: store.release(self._expired_rows, self.holder))
        return maintenance

    def _take(self) -> list[_Request[Any]]:
        return [self._requests.popleft() for _ in range(min(len(self._requests), _MAX_REQUESTS))]

    def _demands(self) -> list[_Demand]:
        """Return the demands: consumers with a waiting `receive` before those that only prefetch, in rotation."""
        self._members.rotate(-1)
        members = sorted(self._members, key=lambda member: member.waiting == 0)
        return [demand for demand in map(_Demand, members) if demand.unsatisfied]

    def _arm(self, at: float) -> None:
        """Schedule the next round at a time of the loop's clock, or at once if requests are left."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if at == math.inf else asyncio.get_running_loop().call_at(at, self._signal.set)
        if self._requests:
            self._signal.set()
