"""Steps of a slot's chain: generate, poll, and what a wake does for each slot."""

from __future__ import annotations

from tests.model.harness import GENERATE, POLL, WAKE, Call, Job, Message
from tests.model.slots.begin import fan_in, finish
from tests.model.slots.rules import SlotRules
from tests.model.slots.state import End, SlotState, next_seq
from tests.model.steps import Options, copy_of, letter, snooze, task_error

__all__ = [
    "cancel_late",
    "count",
    "count_slots",
    "end_call",
    "generate",
    "intent",
    "next_slot",
    "post",
    "put_end",
    "query",
    "read_again",
    "store_id",
    "store_result",
]

Steps = Options[SlotState]


def generate(rules: SlotRules, state: SlotState, worker: int) -> Steps:
    """Decide about the paid call of a slot."""
    work, new = state.work(worker), state.copy()
    slot, calls = work.slot, state.calls_of(work.slot)
    if state.verdict:
        yield finish(new, worker), new
    elif slot in state.ends or state.staged is not None:
        label = fan_in(rules, new, worker) if rules.ended_fans_in else "leaves"
        yield f"slot {slot} has an end: {label}", new if rules.ended_fans_in else new.to(worker, "ack")
    elif state.result(slot):
        yield f"slot {slot} has its result", new.to(worker, *_good(rules))
    elif state.live(slot):
        call = state.live(slot)[-1]
        yield f"job of call {slot}-{call} known, to poll", new.to(worker, "publish", _poll(state, slot, call), "ack")
    elif state.open(slot) and rules.one_create:
        yield _open_call(new, worker, state.open(slot)[-1])
    elif state.failed(slot):
        yield "the job has failed", new.to(worker, "publish", letter(work, "vendor", state.now, 0), "ack")
    else:
        call = len(calls) + 1
        yield f"will create call {slot}-{call}", new.to(worker, "intent", call=call)
    yield from task_error(rules, state, worker)


def _poll(state: SlotState, slot: int, call: int) -> Message:
    return Message(POLL, 0, call=call, due=state.now, slot=slot)


def _good(rules: SlotRules) -> tuple[str, End]:
    return ("put_end" if rules.write_first else "count", End(good=True))


def _open_call(new: SlotState, worker: int, call: int) -> tuple[str, SlotState]:
    work = new.work(worker)
    if new.calls[work.slot, call].at >= new.now:
        return f"call {work.slot}-{call} is open, snooze", snooze(new, worker)
    unknown = letter(work, "unknown", new.now, call)
    return f"call {work.slot}-{call} is open and old: unknown", new.to(worker, "publish", unknown, "ack")


def intent(rules: SlotRules, state: SlotState, worker: int) -> Steps:
    """Create the intent of a paid call."""
    del rules
    work, new = state.work(worker), state.copy()
    if (work.slot, work.call) in state.calls:
        yield f"call {work.slot}-{work.call} is another's", new.to(worker, GENERATE)
        return
    new.calls[work.slot, work.call] = Call(state.now)
    yield f"call {work.slot}-{work.call} created", new.to(worker, "post", state.now)


def _sent(state: SlotState, slot: int, number: int, job: str) -> SlotState:
    new = state.copy()
    if any(not call.ends for other, call in state.calls_of(slot).items() if other != number):
        new.flags |= {"a call beside an open or live one of its slot"}
    new.calls[slot, number] = new.calls[slot, number]._replace(sent=True)
    new.jobs.append(Job(number, job, slot))
    return new


def post(rules: SlotRules, state: SlotState, worker: int) -> Steps:
    """Send the paid create, where its intent is fresh."""
    work = state.work(worker)
    name, slot = f"call {work.slot}-{work.call}", work.slot
    if work.extra[0] != state.now:
        yield f"{name}: too late, not sent", state.moved(worker, "end_call", "R")
        return
    kind, then = ("done", "store_result") if rules.synchronous else ("running", "store_id")
    new = _sent(state, slot, work.call, kind)
    yield f"{name}: sent, {kind}", new.to(worker, then)
    if rules.synchronous and state.faults["blocked"]:
        new = _sent(state.spend("blocked"), slot, work.call, kind)
        new.blocked |= {slot}
        yield f"{name}: done, a picture that the audit blocks", new.to(worker, then)
    if rules.synchronous and state.faults["job_failed"]:
        failed = state.spend("job_failed", "job_failed")
        yield f"{name}: FAILS", _sent(failed, slot, work.call, "failed").to(worker, "end_call", "F")
    if state.faults["create_cut"]:
        cut = state.spend("create_cut", "unknown")
        yield f"{name}: accepted, answer cut", snooze(_sent(cut, slot, work.call, kind), worker)
        yield f"{name}: cut, not accepted", snooze(cut, worker)
    if state.faults["vendor_full"]:
        yield f"{name}: vendor full", state.spend("vendor_full").to(worker, "end_call", "R")
    if state.faults["rejected"]:
        yield f"{name}: content refused", state.spend("rejected", "job_failed").to(worker, "end_call", "R", "rejected")


def store_id(rules: SlotRules, state: SlotState, worker: int) -> Steps:
    """Store the job id of a call."""
    del rules
    work, new = state.work(worker), state.copy()
    at = (work.slot, work.call)
    new.calls[at] = new.calls[at]._replace(job=1)
    yield f"id of call {work.slot}-{work.call} stored", new.to(worker, "read_again")


def read_again(rules: SlotRules, state: SlotState, worker: int) -> Steps:
    """Read verdict and slot's end after the id: what comes too late is cancelled."""
    work, new = state.work(worker), state.copy()
    if state.verdict:
        yield finish(new, worker), new
    elif work.slot in state.ends and rules.end_after_id:
        yield "the slot has an end, the job is too late", new.to(worker, "cancel_late")
    else:
        yield "no verdict", new.to(worker, "publish", _poll(state, work.slot, work.call), "ack")


def cancel_late(rules: SlotRules, state: SlotState, worker: int) -> Steps:
    """Cancel a job whose slot had ended before its id was stored."""
    work, new = state.work(worker), state.copy()
    new.cancel_job(work.slot, work.call)
    yield "late job cancelled; " + fan_in(rules, new, worker), new


def store_result(rules: SlotRules, state: SlotState, worker: int) -> Steps:
    """Store the answer of a synchronous vendor."""
    work, new = state.work(worker), state.copy()
    at = (work.slot, work.call)
    new.calls[at] = new.calls[at]._replace(result=True)
    yield f"result of call {work.slot}-{work.call} stored", new.to(worker, *_good(rules))


def end_call(rules: SlotRules, state: SlotState, worker: int) -> Steps:
    """Write the end of a call: R, not accepted; F, failed."""
    work, new = state.work(worker), state.copy()
    end, *rejected = work.extra
    at = (work.slot, work.call)
    new.calls[at] = new.calls[at]._replace(ends=state.calls[at].ends or end)
    if rejected:
        new.to(worker, "put_end", End(good=False, cause=rejected[0]))
    elif end == "R":
        snooze(new, worker)
    else:
        then = "next_slot" if work.stage == WAKE else "ack"
        new.to(worker, "publish", letter(work._replace(stage=POLL), "vendor", state.now), then)
    yield f"end of call {work.slot}-{work.call}: {end}", new


def query(rules: SlotRules, state: SlotState, worker: int) -> Steps:
    """Look at the job of a slot's call: end the slot, end the call, or look again."""
    work = state.work(worker)
    slot = work.slot
    job = state.job_state(slot, work.call)
    woken = work.stage == WAKE
    if job == "done":
        yield f"job of slot {slot} is done", state.moved(worker, *_good(rules))
    elif job in {"failed", "cancelled"}:
        yield f"job of slot {slot}: {job}", state.moved(worker, "end_call", "F")
    elif woken:
        yield f"job of slot {slot} runs, the wake goes on", state.moved(worker, "next_slot")
    elif job == "stuck" or state.faults["slow_job"]:
        slow = state.copy() if job == "stuck" else state.spend("slow_job")
        yield f"job of slot {slot} runs", slow.to(worker, "publish", copy_of(work, state.now + 1), "ack")
    if not woken:
        yield from task_error(rules, state, worker)


def count(rules: SlotRules, state: SlotState, worker: int) -> Steps:
    """An earlier rule: decide whether this slot is the last before its end is written."""
    work, new = state.work(worker), state.copy()
    last = len(set(state.ends) - {work.slot}) == rules.slots - 1
    yield f"slot {work.slot} is {'' if last else 'not '}the last", new.to(worker, "put_end", *work.extra, last)


def put_end(rules: SlotRules, state: SlotState, worker: int) -> Steps:
    """Create the slot's end, then count."""
    work, new = state.work(worker), state.copy()
    end, *last = work.extra
    new.ends.setdefault(work.slot, end)
    text = f"slot {work.slot} {'good' if end.good else 'bad ' + end.cause}" + (
        " -> ended already" if work.slot in state.ends else ""
    )
    if work.stage == WAKE:
        new.to(worker, "next_slot")
    elif last == [False]:
        new.to(worker, "ack")
    else:
        new.to(worker, "fan_in")
    yield text, new


def count_slots(rules: SlotRules, state: SlotState, worker: int) -> Steps:
    """Read all ends, after the own one was written."""
    new = state.copy()
    yield fan_in(rules, new, worker), new


def next_slot(rules: SlotRules, state: SlotState, worker: int) -> Steps:
    """One slot of a wake; after the last one the fan-in."""
    work, new = state.work(worker), state.copy()
    if not work.rest:
        seen = fan_in(rules, new, worker) if rules.wake_fans_in else "leaves"
        yield f"all slots seen: {seen}", new if rules.wake_fans_in else new.to(worker, "ack")
        return
    slot, *rest = work.rest
    new.aim(worker, slot, tuple(rest))
    yield f"slot {slot}: {_step_of_slot(rules, new, worker, slot)}", new


def _step_of_slot(rules: SlotRules, new: SlotState, worker: int, slot: int) -> str:
    if slot in new.ends:
        new.to(worker, "next_slot")
        return "has an end"
    if new.result(slot):
        new.to(worker, *_good(rules))
        return "has its result"
    if new.live(slot):
        new.to(worker, "query", call=new.live(slot)[-1])
        return "looks once"
    if new.open(slot):
        call = new.open(slot)[-1]
        if new.calls[slot, call].at >= new.now:
            new.to(worker, "next_slot")
            return "open call, waits"
        why = "unknown"
    elif new.failed(slot):
        why, call = "vendor", 0
    else:
        new.to(worker, "publish", Message(GENERATE, next_seq(new, GENERATE, slot), due=new.now, slot=slot), "next_slot")
        return "to generate"
    new.to(worker, "publish", letter(new.work(worker)._replace(stage=GENERATE), why, new.now, call), "next_slot")
    return why
