"""Defects that are planted on purpose, one rule broken by each: the simulation must find all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from unittest.mock import patch

import msgspec

from consumers.engine import engine as engine_module
from consumers.engine.effects import Effects
from consumers.engine.engine import Engine
from consumers.engine.outcomes import Fail, Finish, Next, Outcome
from consumers.stages import collect as collect_module
from consumers.stages import failure as failure_module
from consumers.stages import generate as generate_module
from consumers.stages import wake as wake_module
from messages.bodies import Generate, Stage, Wake
from messages.codec import Message
from messages.codes import Code, code_of
from messages.keys import RunId, record_key
from services.vendors.port import Created
from services.vendors.vod.client import Vod
from services.vendors.vod.request_body import PaidRequest
from tasks import next_step as next_step_module
from tasks import slots as slots_module
from tasks.calls import decide as decide_module
from tasks.calls import find as find_module
from tasks.calls.decide import Lost, Wait
from tasks.context import Services
from tasks.ending import finish as finish_module
from tasks.ledger.ledger import Ledger, Stored
from tasks.ledger.records import Accepted, Begun, CallEnd, SlotEnd, Stopped, Verdict
from tasks.ledger.snapshot import PaidCall
from tasks.slots import CollectAt, Decision, Hopeless
from tasks.wakes import SWEEP
from tests.simulation.events import CURRENT
from transport.port import Consumer, Delivery

Patch = AbstractContextManager[Any]


class Defect(NamedTuple):
    """One defect."""

    says: str
    """The rule that it breaks."""
    rule: str
    """The oracle's name of the broken promise."""
    seed: int
    """A history that shows it."""
    plant: Callable[[], tuple[Patch, ...]]


def planted(name: str | None) -> AbstractContextManager[None]:
    """Plant a defect for a while; None plants nothing."""
    return _planted(DEFECTS[name].plant()) if name else nullcontext()


@contextmanager
def _planted(patches: tuple[Patch, ...]) -> Iterator[None]:
    # A patch that cannot be made must not leave the ones before it in place.
    with ExitStack() as stack:
        for one in patches:
            stack.enter_context(one)
        yield


def _early_ack() -> tuple[Patch, ...]:
    run_one = Engine.run_one

    async def acked_first(self: Engine, delivery: Delivery, consumer: Consumer, message: Any = None) -> None:
        await consumer.ack(delivery)
        await run_one(self, delivery, consumer, message)

    return (patch.object(Engine, "run_one", acked_first),)


def _overwritten_verdict() -> tuple[Patch, ...]:
    write = Ledger.write

    async def overwrite(self: Ledger, run: RunId, name: Any, record: Any) -> Stored[Any]:
        if not isinstance(record, Verdict):
            return await write(self, run, name, record)
        body = msgspec.json.encode({"nonce": self.nonce(), "record": record})
        await self.objects.put(record_key(run, name.text), body)
        return Stored(record, mine=True, at=self.now())

    return (patch.object(Ledger, "write", overwrite),)


def _early_promotion() -> tuple[Patch, ...]:
    conclude = Effects._conclude

    async def promote_first(self: Effects, message: Message, verdict: Verdict) -> None:
        if verdict.status == "success":
            await finish_module._promote(verdict, self._services, resumed=False)
        await conclude(self, message, verdict)

    return (patch.object(Effects, "_conclude", promote_first),)


def _lost_notify() -> tuple[Patch, ...]:
    async def forget(self: Effects, message: Message, error: Exception) -> None:
        """The callback failed once and is not repeated."""

    return (patch.object(Effects, "_notify", forget),)


def _repaid_unknown() -> tuple[Patch, ...]:
    def decide(calls: Any, now: float) -> Any:
        found = decide_module.decide(calls, now)
        return decide_module.MakeCall(len(calls) + 1) if isinstance(found, Lost) else found

    return (patch.object(generate_module, "decide", decide),)


def _missing_deadline() -> tuple[Patch, ...]:
    next_step = next_step_module.next_step

    def endless(snapshot: Any, now: float, **more: Any) -> Any:
        if snapshot.accepted:
            accepted = msgspec.structs.replace(snapshot.accepted, deadline=1e12)
            snapshot = msgspec.structs.replace(snapshot, accepted=accepted)
        return next_step(snapshot, now, **more)

    return (
        patch.object(wake_module, "next_step", endless),
        patch.object(Engine, "_is_late", lambda _self, _header: False),
    )


def _redelivery_count() -> tuple[Patch, ...]:
    copy = Effects._copy

    async def same_attempt(self: Effects, message: Message, delivery: Delivery, **more: Any) -> float:
        # A broker's count of redeliveries does not rise when a consumer's process dies.
        if more.get("isolated"):
            more["attempt"] = message.header.attempt
        return await copy(self, message, delivery, **more)

    return (patch.object(Effects, "_copy", same_attempt),)


def _sweep_pays_again() -> tuple[Patch, ...]:
    do = wake_module._do
    restarted: set[str] = set()

    async def restart(step: Any, snapshot: Any, body: Wake, services: Any) -> Outcome:
        if body.why == SWEEP and snapshot.calls and not snapshot.verdict:
            restarted.add(snapshot.run.task)
            return Next(Stage.GENERATE, Generate(), seq=snapshot.next_seq(Stage.GENERATE, slot=1))
        return await do(step, snapshot, body, services)

    def decide(calls: Any, now: float) -> Any:
        if CURRENT.get().task not in restarted:
            return decide_module.decide(calls, now)
        restarted.discard(CURRENT.get().task)
        return decide_module.MakeCall(len(calls) + 1)

    return (patch.object(wake_module, "_do", restart), patch.object(generate_module, "decide", decide))


def _finish_under_acked_wake() -> tuple[Patch, ...]:
    conclude = wake_module._conclude

    def at_once(snapshot: Any, services: Any, *, again: bool = False, delay: float = 0.0) -> Outcome:
        del delay
        return conclude(snapshot, services, again=True) if again else Finish()

    return (patch.object(wake_module, "_conclude", at_once),)


def _shared_fault() -> tuple[Patch, ...]:
    read = Ledger.read

    async def read_of_any(self: Ledger, run: RunId, name: Any) -> Any:
        found = await read(self, run, name)
        if name.kind is not CallEnd:
            return found
        # Stored under a key without the task.
        ends = vars(self).setdefault("ends", {})
        return ends.setdefault(name.text, found) if found else ends.get(name.text)

    return (patch.object(Ledger, "read", read_of_any),)


def _early_collect() -> tuple[Patch, ...]:
    decide_run = slots_module.decide_run

    def impatient(accepted: Accepted, ends: Mapping[int, SlotEnd]) -> Decision:
        found = decide_run(accepted, ends)
        enough = sum(end.good for end in ends.values()) >= accepted.enough
        return CollectAt(0.0) if enough and not isinstance(found, Hopeless) else found

    places = (slots_module, collect_module, next_step_module)
    return tuple(patch.object(place, "decide_run", impatient) for place in places)


def _second_call() -> tuple[Patch, ...]:
    def decide(calls: Any, now: float) -> Any:
        found = decide_module.decide(calls, now)
        return decide_module.MakeCall(len(calls) + 1) if isinstance(found, Wait) else found

    return (patch.object(generate_module, "decide", decide),)


def _marks_of_the_run() -> tuple[Patch, ...]:
    mark_of = engine_module._mark_of

    def without_slot(message: Message, delivery: Delivery) -> Any:
        header = message.header
        return Begun.at(header.stage, header.seq) if header.stage == Stage.POLL else mark_of(message, delivery)

    return (patch.object(engine_module, "_mark_of", without_slot),)


def _slot_fails_run() -> tuple[Patch, ...]:
    end_slot = failure_module._end_slot

    async def fail(run: RunId, slot: int, stopped: Stopped, accepted: Accepted, services: Any) -> Outcome:
        outcome = await end_slot(run, slot, stopped, accepted, services)
        ended = await services.ledger.read(run, SlotEnd.at(slot))
        return Fail(code_of(stopped.code)) if ended and not ended.record.good else outcome

    return (patch.object(failure_module, "_end_slot", fail),)


def _outdated_letter() -> tuple[Patch, ...]:
    def believe(_calls: Any, _now: float, *, of_call: bool) -> bool:
        return True

    return (patch.object(failure_module, "may_fail", believe),)


def _new_identity() -> tuple[Patch, ...]:
    pay = Vod._pay
    sent: set[bytes] = set()

    async def pay_anew(self: Vod, order: PaidRequest, body: bytes, limit: float) -> Created:
        identity = str(order.body["SessionId"]).encode()
        again = body.replace(identity, identity[:-4] + b"next") if body in sent else body
        sent.add(body)
        return await pay(self, order, again, limit)

    return (patch.object(Vod, "_pay", pay_anew),)


def _not_found_permits() -> tuple[Patch, ...]:
    find = find_module._find

    async def believe(run: RunId, call: PaidCall, services: Services) -> PaidCall:
        found = await find(run, call, services)
        if not found.open or not find_module.can_find(call.vendor, services):
            return found
        end = CallEnd("not_accepted", Code.BUSY)
        await services.ledger.write(run, CallEnd.at(call.slot, call.n), end)
        return msgspec.structs.replace(found, end=end)

    return (patch.object(find_module, "_find", believe),)


def _unsought() -> tuple[Patch, ...]:
    async def unchanged(_run: RunId, calls: tuple[PaidCall, ...], _services: Services) -> tuple[PaidCall, ...]:
        return calls

    return tuple(patch.object(place, "find_open", unchanged) for place in (generate_module, wake_module))


DEFECTS: Final[Mapping[str, Defect]] = MappingProxyType(
    {
        "early_ack": Defect("effects come before the ack", "acked", 0, _early_ack),
        "overwritten_verdict": Defect("a verdict is create-only", "final", 0, _overwritten_verdict),
        "early_promotion": Defect("results are shown after the verdict", "promotion", 0, _early_promotion),
        "lost_notify": Defect("a callback that failed goes on as a message", "carried", 22, _lost_notify),
        "repaid_unknown": Defect("a call whose outcome is unknown is not sent again", "paid", 3, _repaid_unknown),
        "missing_deadline": Defect("every run ends by its deadline", "late", 20, _missing_deadline),
        "redelivery_count": Defect("attempts are counted by marks", "killer", 13, _redelivery_count),
        "sweep_pays_again": Defect("a sweep runs no stage", "paid", 4, _sweep_pays_again),
        "finish_under_acked_wake": Defect(
            "results are shown or withdrawn under a message that is not acked", "acked", 3, _finish_under_acked_wake
        ),
        "early_collect": Defect("results are collected when the run is decided", "undecided", 0, _early_collect),
        "second_call": Defect("no second call beside an open one of the same slot", "paid", 18, _second_call),
        "marks_of_the_run": Defect("each slot has marks of its own", "carried", 0, _marks_of_the_run),
        "slot_fails_run": Defect("a slot that fails costs its results, not the run", "hopeless", 17, _slot_fails_run),
        "outdated_letter": Defect("a letter ends no slot whose call is paid", "outdated", 4, _outdated_letter),
        "new_identity": Defect("a create that is sent once more keeps its identity", "paid", 17, _new_identity),
        "not_found_permits": Defect(
            "a call that is not listed is not known to be refused", "paid", 18, _not_found_permits
        ),
        "unsought": Defect("a call is looked for before it counts as unknown", "unfound", 108, _unsought),
        "shared_fault": Defect("a fault of one run fails no other", "reason", 17, _shared_fault),
    }
)
"""Every defect by its name."""
