"""The fault injector of a deployment: faults at effects, by a seed; and the record of which task each may harm."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from messages.errors import Transient
from services.errors import (
    AuditDown,
    BackendDown,
    CreateUnknown,
    Exists,
    FetchFailed,
    ObjectsDown,
    UploadFailed,
    VendorDown,
)
from tests.simulation.events import CURRENT, Timeline
from tests.simulation.machines import Machine
from tests.simulation.oracle import Oracle
from tests.simulation.queue import Entry, MachineConsumer, Queue
from tests.simulation.script import Script, Sold
from transport.errors import BrokerDown
from transport.port import Delivery

_SHARES: Final[Mapping[str, float]] = {
    "ledger.get": 0.1,
    "ledger.list": 0.3,
    "vendor": 4.0,
    "backend": 4.0,
    "files": 2.0,
}
"""Most effects are reads of the ledger: faults should be distributed more evenly."""
_LEASE_S: Final = 60.0
_SLOW_S: Final = 8.0
"""Seconds of waiting at one effect that may cost an attempt."""
_NOTICED_S: Final = (0.0, 0.0, 30.0)
"""Seconds after which a broker knows that a machine is dead."""

_Error = Callable[[], Exception]

_ERRORS: Final[Mapping[str, tuple[str, tuple[_Error, ...]]]] = {
    "objects": ("store", (lambda: ObjectsDown("503"),)),
    "objects.audit": ("store", (lambda: ObjectsDown("503"), lambda: Transient("audit"), lambda: AuditDown("away"))),
    "ledger": ("store", (lambda: ObjectsDown("503"),)),
    "ledger.put_new": ("store", (lambda: ObjectsDown("503"), lambda: Exists("409"))),
    "vendor": ("vendor", (lambda: VendorDown("502"),)),
    "vendor.upload": ("vendor", (lambda: VendorDown("502"), lambda: UploadFailed("cut"))),
    "vendor.create": ("vendor", (lambda: CreateUnknown("cut"),)),
    "files": ("files", (lambda: FetchFailed("cut"),)),
    "backend": ("backend", (lambda: BackendDown("503"), lambda: BackendDown("401", refused=True))),
    "broker.publish": ("broker", (lambda: BrokerDown("no receipt"),)),
    "broker.ack": ("broker", (lambda: BrokerDown("no receipt"),)),
}
"""Effect -> family of its faults, and errors."""


class Window(NamedTuple):
    """An outage of a whole service."""

    service: str
    since: float
    until: float


class Chaos:
    """Injects faults by a script, until calm.

    Args:
        script: of the history.
        oracle: gets the faults that may have harmed each task.
        timeline: of the history.
        queue: the broker.
    """

    def __init__(self, script: Script, oracle: Oracle, timeline: Timeline, queue: Queue) -> None:
        self.script = script
        self.windows: list[Window] = []
        self.kill: Callable[[Machine, float], None] = lambda _, __: None
        """Ends a machine; after so many seconds its broker notices."""
        self._rng = random.Random(script.seed + 1)
        self._oracle = oracle
        self._timeline = timeline
        self._queue = queue
        self._budget = script.budget if script.families else 0
        self._killers: list[tuple[str, Sold]] = [(sold.killer, sold) for sold in script.tasks if sold.killer]
        self._loses_poll = {sold.id for sold in script.tasks if sold.loses_poll}
        self._late_letters = {sold.id for sold in script.tasks if sold.late_letter}
        queue.on_publish = self._on_publish
        queue.on_receive = self._on_receive
        queue.on_ack = self._on_ack

    @property
    def calm(self) -> bool:
        """True once faults are over."""
        return asyncio.get_running_loop().time() >= self.script.calm_at

    def has(self, family: str) -> bool:
        """True if faults of a family may happen now."""
        return family in self.script.families and not self.calm

    def write_windows(self) -> None:
        """Decide the times of outages of whole services."""
        rng, families = self._rng, self.script.families
        for service, family in (("store", "store"), ("vendor", "vendor"), ("backend", "backend"), ("files", "files")):
            if family in families and rng.random() < 0.4:
                since = rng.uniform(0, self.script.calm_at)
                until = min(self.script.calm_at, since + rng.choice((20.0, 120.0, 400.0)))
                self.windows.append(Window(service, since, until))
                self._timeline.fault("outage", "", f"{service} is away from {since:.0f} to {until:.0f} s")

    # ---- at effects ----------------------------------------------------------------------------------------------

    async def meddle(self, machine: Machine, place: str, *, done: bool) -> None:
        """Inject a fault at an effect, or none."""
        if self._killers and not done:
            await self._kill_if_killer(machine, place)
        head = place.partition(" ")[0]
        if self.windows and not done:
            self._meet_outage(place)
        if self._budget <= 0 or self.calm:
            return
        share = _SHARES.get(head) or _SHARES.get(head.partition(".")[0], 1.0)
        if self._rng.random() >= self.script.rate * share:
            return
        await self._strike(machine, head, place, done=done)

    def see(self, machine: Machine, place: str, *, done: bool) -> None:
        """Show an effect to the oracle."""
        self._oracle.see(machine, place, done=done)

    async def _strike(self, machine: Machine, head: str, place: str, *, done: bool) -> None:
        rng, families = self._rng, self.script.families
        family, errors = _ERRORS.get(head) or _ERRORS.get(head.partition(".")[0], ("", ()))
        choices = [each for each in ("crash", "freeze", family) if each in families]
        if not choices:
            return
        self._budget -= 1
        chosen = rng.choice(choices)
        where = f"{'after' if done else 'before'} {place}"
        if chosen == "crash":
            self._crash(machine, where)
        elif chosen == "freeze":
            self.freeze(machine, rng.choice((12.0, 100.0, 300.0)), where)
        elif rng.random() < 0.2:
            seconds = rng.choice((1.0, 5.0, 15.0))
            self._timeline.fault("slow answer", machine.name, f"{seconds:.0f} s {where}")
            if seconds >= _SLOW_S:
                self._blame_current()
            await asyncio.sleep(seconds)
        else:
            error = rng.choice(errors)()
            self._excuse_unknown(place)
            self._timeline.fault(f"{family} error", machine.name, f"{type(error).__name__} {where}")
            self._blame_current()
            raise error

    async def _kill_if_killer(self, machine: Machine, place: str) -> None:
        for where, sold in self._killers:
            if place.startswith(where) and f"/{sold.id}/" in place:
                self._oracle.kills[sold.id] += 1
                self._crash(machine, f"at {place}, as each time")
                await machine.stand()

    def _meet_outage(self, place: str) -> None:
        now = asyncio.get_running_loop().time()
        for window in self.windows:
            if window.since <= now < window.until:
                self._refuse(window.service, place)

    def _excuse_unknown(self, place: str) -> None:
        """Note for the oracle that the result of a paid call may be lost here."""
        if place.startswith(("vendor.create", "ledger.put_new")) and ("vendor" in place or "/call-" in place):
            self._oracle.excuses[CURRENT.get().task].add("unheard")

    def _refuse(self, service: str, place: str) -> None:
        head = place.partition(" ")[0]
        ours = head.partition(".")[0]
        if service == "store" and ours in {"ledger", "objects"}:
            self._excuse_unknown(place)
            raise ObjectsDown("503")
        if service == "backend" and ours == "backend":
            raise BackendDown("503")
        if service == "files" and ours == "files":
            self._blame_current()
            raise FetchFailed("502")
        if service == "vendor" and ours == "vendor":
            self._excuse_unknown(place)
            if head == "vendor.create":
                raise CreateUnknown("502")
            raise VendorDown("502")

    # ---- machines ------------------------------------------------------------------------------------------------

    def _crash(self, machine: Machine, where: str) -> None:
        self._timeline.fault("crash", machine.name, f"the machine dies {where}")
        self.blame(machine)
        self.kill(machine, self._rng.choice(_NOTICED_S))

    def crash(self, machine: Machine) -> None:
        """Let a machine die at any moment."""
        self._crash(machine, "between two effects")

    def freeze(self, machine: Machine, seconds: float, where: str = "") -> None:
        """Freeze a machine for a while; a broker with leases gives its messages to others."""
        self._timeline.fault("freeze", machine.name, f"{seconds:.0f} s {where}")
        self.blame(machine)
        machine.freeze(seconds)
        if seconds > _LEASE_S and self._rng.random() < 0.7:
            asyncio.get_running_loop().call_later(_LEASE_S, self._lapse, machine)

    def _lapse(self, machine: Machine) -> None:
        if machine.alive and machine.frozen:
            self._timeline.add(machine.name, "its lease has ended: others get what it holds")
            self._queue.take_back(machine)

    async def restart_broker(self, seconds: float) -> None:
        """The broker is away for a while, and delivers again what was in flight."""
        self._timeline.fault("broker restart", "", f"{seconds:.0f} s")
        for consumer in self._queue.consumers:
            self.blame(consumer.machine)
        await self._queue.restart(seconds)
        self._timeline.add("", "the broker is back")

    def blame(self, machine: Machine) -> None:
        """Each message that a machine works on may cost its task an attempt."""
        for doing in machine.at_work:
            self._oracle.hits[doing.task] += 1

    def _blame_current(self) -> None:
        self._oracle.hits[CURRENT.get().task] += 1

    # ---- the broker ----------------------------------------------------------------------------------------------

    def _chance(self, share: float) -> bool:
        return self._budget > 0 and self.has("broker") and self._rng.random() < share

    def _on_publish(self, entry: Entry) -> str:
        if entry.stage == "poll" and entry.task in self._loses_poll and self.has("broker"):
            self._loses_poll.discard(entry.task)
            trouble = "lost"
        elif entry.stage == "dead" and entry.task in self._late_letters and self.has("broker"):
            self._late_letters.discard(entry.task)
            trouble = "late"
        elif self._chance(0.06):
            self._budget -= 1
            trouble = self._rng.choice(("lost", "twice", "early", "early"))
        else:
            return ""
        self._timeline.fault(f"message {trouble}", "broker", entry.words)
        if trouble == "lost":
            self._oracle.excuses[entry.task].add("lost")
        self._oracle.hits[entry.task] += 1
        return trouble

    def _on_receive(self, consumer: MachineConsumer, delivery: Delivery) -> None:
        """Perhaps the broker gives the message to another while this one works on it."""
        entry = self._queue.open.get(delivery.message_id)
        if entry is None or not self._chance(0.02):
            return
        self._budget -= 1
        self._timeline.fault("second holder", "broker", f"of {entry.words}")
        self._oracle.hits[entry.task] += 1
        asyncio.get_running_loop().call_later(self._rng.uniform(0, 20), consumer.lose, delivery)

    def _on_ack(self, consumer: MachineConsumer, entry: Entry) -> bool:
        if not self._chance(0.03):
            return True
        self._budget -= 1
        self._timeline.fault("ack lost", "broker", f"of {entry.words}")
        self._oracle.hits[entry.task] += 1
        delivery = consumer.held[entry.id]
        asyncio.get_running_loop().call_later(self._rng.uniform(0, 100), consumer.lose, delivery)
        return False
