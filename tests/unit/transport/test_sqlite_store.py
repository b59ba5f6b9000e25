"""The store compared with a model of a few lines, for any order of operations."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from transport.sqlite.clocks import Moment
from transport.sqlite.store import MEMORY, NO_HOLDER, Lease, Store

TOPICS = ("clean-high", "poll", "wake")
delays = st.sampled_from([0.0, 0.0, 0.0, 1.0, 5.0, 60.0])
topics = st.sampled_from(TOPICS)


@dataclass(eq=False)
class Copy:
    """A message as a subscription should see it; compared by identity: equal copies may differ in subscription."""

    message_id: str
    payload: bytes
    due: float
    holder: int = NO_HOLDER


class StoreMachine(RuleBasedStateMachine):
    """Two holders of one store; the model is a list of copies for each (topic, subscription)."""

    claimed = Bundle("claimed")

    @initialize()
    def begin(self) -> None:
        self.now = 1000.0
        self.store = Store.open(MEMORY, now=Moment(self.now, self.now, "boot"), busy_timeout=0.0)
        self.model: dict[tuple[str, str], list[Copy]] = {}
        self.queues: dict[tuple[str, str], int] = {}
        self.published = 0
        with self.store.transaction():
            self.holders = {name: self.store.register(name, 1e9) for name in ("one", "two")}

    def teardown(self) -> None:
        self.store.close()

    @rule(seconds=st.sampled_from([0.5, 1.0, 10.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(topic=topics, delay=delays)
    def publish(self, topic: str, delay: float) -> None:
        self.published += 1
        payload, due = str(self.published).encode(), self.now + delay
        with self.store.transaction():
            message_id = self.store.publish(topic, payload, due, due)
        assert self.store.made_deliverable
        assert message_id not in {copy.message_id for copies in self.model.values() for copy in copies}
        names = [key for key in self.model if key[0] == topic] or [(topic, "")]
        for key in names:
            self.model.setdefault(key, []).append(Copy(message_id, payload, due))

    @rule(topic=topics)
    def publish_and_fail(self, topic: str) -> None:
        with suppress(ZeroDivisionError), self.store.transaction():
            self.store.publish(topic, b"never", self.now, self.now)
            _ = 1 / 0

    @rule(topic=topics, subscription=st.sampled_from(["workers", "failure"]))
    def subscribe(self, topic: str, subscription: str) -> None:
        with self.store.transaction():
            (queue,) = self.store.subscribe([topic], subscription)
        key = (topic, subscription)
        assert self.queues.setdefault(key, queue) == queue
        nameless = self.model.pop((topic, ""), None)
        if nameless is not None:
            self.model[key] = nameless
        elif key not in self.model:
            stored = {copy.message_id: copy for other in self.model if other[0] == topic for copy in self.model[other]}
            self.model[key] = [Copy(copy.message_id, copy.payload, copy.due) for copy in stored.values()]

    @rule(
        target=claimed,
        name=st.sampled_from(["one", "two"]),
        limit=st.integers(1, 5),
        keys=st.lists(st.tuples(topics, st.sampled_from(["workers", "failure"])), min_size=1, max_size=3, unique=True),
    )
    def claim(self, name: str, limit: int, keys: list[tuple[str, str]]) -> tuple[str, list[Lease]]:
        known = {self.queues[key]: key for key in keys if key in self.queues}
        free = [copy for key in known.values() for copy in self.model[key] if copy.holder == NO_HOLDER]
        due = [copy for copy in free if copy.due <= self.now]
        assert self.store.next_due(known) == min((copy.due for copy in free), default=None)
        with self.store.transaction():
            claims = self.store.claim(self.holders[name], list(known), limit, self.now)
        assert len(claims) == min(limit, len(due))
        for claim in claims:
            copy = self._copy(known[claim.queue], claim)
            assert copy in due
            copy.holder = self.holders[name]
        served = {claim.queue for claim in claims}
        assert len(served) == min(limit, sum(any(copy in due for copy in self.model[key]) for key in known.values()))
        return name, claims

    def _copy(self, key: tuple[str, str], claim: Lease) -> Copy:
        found = [copy for copy in self.model[key] if copy.message_id == claim.message_id]
        assert len(found) == 1
        assert found[0].payload == claim.payload
        return found[0]

    @rule(taken=consumes(claimed))
    def ack(self, taken: tuple[str, list[Lease]]) -> None:
        with self.store.transaction():
            for claim in taken[1]:
                self.store.ack(claim.row)
        for key, queue in self.queues.items():
            gone = {claim.message_id for claim in taken[1] if claim.queue == queue}
            self.model[key] = [copy for copy in self.model[key] if copy.message_id not in gone]

    @rule(taken=claimed)
    def release(self, taken: tuple[str, list[Lease]]) -> None:
        name, claims = taken
        freed = [copy for claim in claims if (copy := self._held(claim, self.holders[name])) is not None]
        with self.store.transaction():
            self.store.release([claim.row for claim in claims], self.holders[name])
        assert self.store.made_deliverable == bool(freed)
        for copy in freed:
            copy.holder = NO_HOLDER

    def _held(self, claim: Lease, holder: int) -> Copy | None:
        """Return the copy of a claim if this holder still holds it."""
        (key,) = [key for key, queue in self.queues.items() if queue == claim.queue]
        found = [copy for copy in self.model[key] if copy.message_id == claim.message_id]
        return found[0] if found and found[0].holder == holder else None

    @rule(name=st.sampled_from(["one", "two"]), leased=st.booleans())
    def holder_ends(self, name: str, *, leased: bool) -> None:
        """End the lease of a holder, or remove it and register a new one under its name."""
        ended = self.holders[name]
        with self.store.transaction():
            if leased:
                assert self.store.renew_lease(name, 1.0)
            else:
                self.store.remove_holder(name)
            self.store.reclaim(2.0)
            if leased:
                assert self.store.renew_lease(name, 1e9)
            else:
                assert not self.store.renew_lease(name, 1e9)
                self.holders[name] = self.store.register(name, 1e9)
        assert leased or self.holders[name] > max(ended, min(self.holders.values()))
        for copies in self.model.values():
            for copy in copies:
                copy.holder = NO_HOLDER if copy.holder == ended else copy.holder

    @invariant()
    def figures_agree(self) -> None:
        for topic, subscription in self.model:
            copies = self.model[topic, subscription]
            free = [copy.due for copy in copies if copy.holder == NO_HOLDER]
            due = [moment for moment in free if moment <= self.now]
            backlog = self.store.backlog(topic, subscription or "workers", self.now)
            assert (backlog.ready, backlog.delayed) == (len(due), len(free) - len(due))
            assert backlog.in_flight == len(copies) - len(free)
            assert backlog.oldest_age == (self.now - min(due) if due else 0.0)


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
