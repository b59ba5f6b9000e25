"""Steps of the stages: each is one outside effect and the pure decision after it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.begin import finish, next_seq, number_after_begun
from tests.model.rules import Rules
from tests.model.state import COLLECT, GENERATE, LETTER, POLL, WAKE, Call, Job, Mark, Message, State, Verdict, Work

__all__ = [
    "Options",
    "clean",
    "collect",
    "died_of",
    "end_call",
    "generate",
    "give_up",
    "intent",
    "mark",
    "open_call",
    "post",
    "query",
    "read_again",
    "sent",
    "snooze",
    "store_id",
]

Options = Iterator[tuple[str, State]]
"""Labelled successors of a state."""


def _letter(work: Work, why: str, now: int, call: int | None = None) -> Message:
    return Message(
        LETTER, work.seq, work.attempt, work.call if call is None else call, now, cause=f"{work.stage}:{why}"
    )


def _copy(work: Work, due: int, attempt: int | None = None) -> Message:
    return Message(work.stage, work.seq + 1, work.attempt if attempt is None else attempt, work.call, due)


def snooze(state: State, worker: int) -> State:
    """Publish a later copy of a worker's message, in place."""
    return state.to(worker, "publish", _copy(state.work(worker), state.now + 1), "ack")


def died_of(stage: str, attempt: int, seq: int) -> str:
    """A note that a worker died while it made an attempt, in a message with this number."""
    return f"note: died of {stage} attempt {attempt} in {seq}"


def _repeats(state: State, work: Work) -> bool:
    """True if a worker died in a later message of the same attempt."""
    later = (seq for seq, _ in state.marks if seq > work.seq)
    return any(died_of(work.stage, work.attempt, seq) in state.flags for seq in later)


def _leaves(rules: Rules, state: State, work: Work) -> bool:
    """True for a copy after an error or a crash that lets another message carry the run."""
    if not work.attempt or rules.leaves_for == "none":
        return False
    marks = [(seq, found.attempt) for (seq, stage), found in state.marks.items() if stage == work.stage]
    twin = any(seq < work.seq and attempt >= work.attempt for seq, attempt in marks)
    return any(seq > work.seq for seq, _ in marks) or (rules.leaves_for == "any" and twin)


def mark(rules: Rules, state: State, worker: int) -> Options:
    """Create the mark of a message, or find one there."""
    work, new = state.work(worker), state.copy()
    name = (work.seq, work.stage if rules.numbers_by_stage else "")
    found = state.marks.get(name)
    if found is None:
        new.marks[name] = Mark(work.message, work.attempt, state.now)
        if _leaves(rules, state, work):
            yield f"mark {name} created, a later one stands: leaves", new.to(worker, "ack")
            return
        if work.attempt and _repeats(state, work):
            new.flags |= {"an attempt is made again, its successor having died"}
        if work.attempt > rules.attempts:
            new.to(worker, "publish", _letter(work, "attempts", state.now), "ack")
            yield f"mark {name} created: attempts spent", new
            return
        yield f"mark {name} created", new.to(worker, "query" if work.stage == POLL else work.stage)
    elif found.message != work.message:
        yield f"mark {name} is of m{found.message}: leaves", new.to(worker, "ack")
    elif work.stage == POLL:
        yield f"mark {name} is mine: a look goes on", new.to(worker, "query")
    elif work.attempt >= rules.attempts and not rules.letter_after_mark:
        yield "mark is mine, attempts spent", new.to(worker, "publish", _letter(work, "attempts", state.now), "ack")
    else:
        due = found.at + 1 if rules.wait_for_holder else state.now
        yield "mark is mine: a copy", new.to(worker, "publish", _copy(work, due, work.attempt + 1), "ack")


def _task_error(rules: Rules, state: State, worker: int) -> Options:
    if not state.faults["task_error"]:
        return
    work = state.work(worker)
    new = state.spend("task_error", f"error in {work.stage}")
    if work.attempt + 1 > rules.attempts:
        new.to(worker, "publish", _letter(work, "attempts", state.now), "ack")
    else:
        new.to(worker, "publish", _copy(work, state.now + 1, work.attempt + 1), "ack")
    yield f"{work.stage} seq {work.seq}: error of this task", new


def clean(rules: Rules, state: State, worker: int) -> Options:
    """Make the cleaned inputs and go on with generate."""
    new = state.copy()
    new.cleaned = new.cleaned or rules.clean_recorded
    seq = next_seq(rules, state.work(worker).seq)
    yield "clean works", new.to(worker, "publish", Message(GENERATE, seq, due=state.now), "ack")
    yield from _task_error(rules, state, worker)


def generate(rules: Rules, state: State, worker: int) -> Options:
    """Decide about the paid call."""
    work, new = state.work(worker), state.copy()
    ends = "".join(call.ends for call in state.calls.values())
    if state.live():
        call = state.live()[-1]
        message = Message(POLL, next_seq(rules, work.seq), call=call, due=state.now)
        yield f"job of call {call} known, to poll", new.to(worker, "publish", message, "ack")
    elif state.open() and not rules.one_create:
        yield "sends an open call again", new.to(worker, "post", state.now, call=state.open()[-1])
    elif state.open() and rules.guarded and (rules.find_before_unknown or not _is_old(state)):
        yield f"call {state.open()[-1]} is open, to be found", new.to(worker, "find", call=state.open()[-1])
    elif state.open():
        yield open_call(rules, new, worker, state.open()[-1])
    elif rules.next_call == "not_accepted" and "F" in ends:
        yield "the job has failed", new.to(worker, "publish", _letter(work, "vendor", state.now, 0), "ack")
    elif rules.next_call == "not_accepted" and "G" in ends and rules.unknown == "fail":
        yield "given up", new.to(worker, "publish", _letter(work, "unknown", state.now, 0), "ack")
    else:
        yield f"will create call {len(state.calls) + 1}", new.to(worker, "intent", call=len(state.calls) + 1)
    yield from _task_error(rules, state, worker)


def _is_old(state: State) -> bool:
    return state.calls[state.open()[-1]].at < state.now


def open_call(rules: Rules, new: State, worker: int, call: int) -> tuple[str, State]:
    """Wait for a call without an id, or count it as unknown, in place."""
    if new.work(worker).stage == WAKE:
        return f"call {call} is open, the wake leaves", new.to(worker, "ack")
    if new.calls[call].at >= new.now:
        return f"call {call} is open, snooze", snooze(new, worker)
    if rules.unknown == "fail" and rules.ledger_decides:
        letter = _letter(new.work(worker), "unknown", new.now, call)
        return f"call {call} is open and old: unknown", new.to(worker, "publish", letter, "ack")
    return f"call {call} is open and old", new.to(worker, "give_up", call=call)


def give_up(rules: Rules, state: State, worker: int) -> Options:
    """Write that a call is given up: an earlier rule, and the policy `resend`."""
    work, new = state.work(worker), state.copy()
    call = state.calls[work.call]
    separate = rules.ledger_decides
    if not call.ends or (separate and "G" not in call.ends):
        new.calls[work.call] = call._replace(ends=call.ends + "G")
    known = separate and work.call in new.known()
    if rules.unknown == "fail" and "G" in new.calls[work.call].ends and not known:
        new.to(worker, "publish", _letter(work, "unknown", state.now), "ack")
    else:
        new.to(worker, "generate")
    yield f"call {work.call} given up", new


def intent(rules: Rules, state: State, worker: int) -> Options:
    """Create the intent of a paid call."""
    del rules
    number = state.work(worker).call
    if number in state.calls:
        yield f"call {number} is another's", state.moved(worker, "generate")
        return
    new = state.copy()
    new.calls[number] = Call(state.now)
    if state.faults["intent_unread"]:
        unread = new.spend("intent_unread", "unknown")
        yield f"call {number} stored, answer and read lost", snooze(unread, worker)
    yield f"call {number} created", new.to(worker, "post", state.now)


def sent(state: State, number: int) -> State:
    """A copy in which the vendor has accepted a call."""
    new = state.copy()
    call = new.calls[number]
    new.calls[number] = call._replace(sent=True)
    new.jobs.append(Job(number, "running"))
    if state.verdict:
        new.flags |= {"note: paid after the verdict"}
    if call.ends:
        new.flags |= {"note: paid after the call's end"}
    return new


def _lost(rules: Rules, state: State, worker: int) -> State:
    """Follow a create without an answer up, in place."""
    return state.to(worker, "recover", *state.work(worker).extra, "") if rules.guarded else snooze(state, worker)


def post(rules: Rules, state: State, worker: int) -> Options:
    """Send the paid create, where its intent is fresh."""
    work = state.work(worker)
    if rules.fresh_intent and work.extra[0] != state.now:
        late = state.copy()
        yield (
            f"call {work.call}: too late, not sent",
            late.to(worker, "end_call", "R") if rules.unsent_end else snooze(late, worker),
        )
        return
    new = sent(state, work.call)
    yield f"call {work.call}: job {len(new.jobs)}", new.to(worker, "store_id", len(new.jobs))
    if state.faults["create_cut"]:
        cut = state.spend("create_cut", "unknown")
        yield f"call {work.call}: accepted, answer cut", _lost(rules, sent(cut, work.call), worker)
        yield f"call {work.call}: cut, not accepted", _lost(rules, cut.copy(), worker)
    if state.faults["vendor_full"]:
        yield f"call {work.call}: vendor full", state.spend("vendor_full").to(worker, "end_call", "R")


def store_id(rules: Rules, state: State, worker: int) -> Options:
    """Store the job id of a call."""
    work, new = state.work(worker), state.copy()
    new.calls[work.call] = new.calls[work.call]._replace(job=work.extra[0])
    if work.stage == WAKE:
        new.to(worker, "query")
    elif rules.verdict_after_id:
        new.to(worker, "read_again")
    else:
        message = Message(POLL, next_seq(rules, work.seq), call=work.call, due=state.now)
        new.to(worker, "publish", message, "ack")
    yield f"id of call {work.call} stored", new


def read_again(rules: Rules, state: State, worker: int) -> Options:
    """Read the verdict after the id: a run that has ended cancels the job."""
    work, new = state.work(worker), state.copy()
    if state.verdict:
        yield finish(rules, new, worker), new
        return
    message = Message(POLL, next_seq(rules, work.seq), call=work.call, due=state.now)
    yield "no verdict", new.to(worker, "publish", message, "ack")


def end_call(rules: Rules, state: State, worker: int) -> Options:
    """Write the end of a call: R, not accepted; F, failed."""
    work, new = state.work(worker), state.copy()
    end, call = work.extra[0], state.calls[work.call]
    if not call.ends or (rules.ledger_decides and call.ends == "G"):
        new.calls[work.call] = call._replace(ends=call.ends + end)
    if end == "R":
        snooze(new, worker)
    elif rules.last_call_fails and (set(new.live()) - {work.call} or new.open()):
        if rules.look_at_run and work.stage == POLL:
            new.to(worker, "publish", _copy(work, state.now + 1, 0), "ack")
        else:
            new.to(worker, "ack")
    else:
        new.to(worker, "publish", _letter(work, "vendor", state.now), "ack")
    yield f"end of call {work.call}: {end}", new


def _looked_at(rules: Rules, state: State, worker: int) -> int:
    """The call that a look acts on: done before failed, cancelled, running."""
    if not rules.look_at_run:
        return state.work(worker).call
    states = {number: state.jobs[state.job_of(number)].state for number in state.live() or state.known()}
    order = ("done", "failed", "cancelled", "running")
    return next(number for wanted in order for number in states if states[number] == wanted)


def query(rules: Rules, state: State, worker: int) -> Options:
    """Look at the job: collect, end the call, or look again."""
    work, new = state.work(worker), state.copy()
    call = _looked_at(rules, state, worker)
    job = state.jobs[state.job_of(call)].state
    if job == "done":
        woken = work.stage == WAKE
        seq = number_after_begun(rules, state, COLLECT) if woken else next_seq(rules, work.seq)
        message = Message(COLLECT, seq, call=call, due=state.now)
        yield f"call {call} is done, to collect seq {seq}", new.to(worker, "publish", message, "ack")
    elif job in {"failed", "cancelled"}:
        yield f"call {call}: job {job}", new.to(worker, "end_call", "F", call=call)
    elif work.stage == WAKE:
        yield f"call {call} runs, the wake leaves", new.to(worker, "ack")
    elif state.faults["slow_job"]:
        slow = state.spend("slow_job").to(worker, "query", call=call)
        message = Message(POLL, work.seq + 1, call=call, due=state.now)
        yield f"call {call} runs", slow.to(worker, "publish", message, "ack")


def collect(rules: Rules, state: State, worker: int) -> Options:
    """Put the results into staging and name them in the verdict."""
    work, new = state.work(worker), state.copy()
    key = work.seq if rules.staging == "number" else (work.seq, work.message, len(state.staged))
    etag = state.staged.get(key, 0) + 1
    new.staged[key] = etag
    if not rules.verdict_before_output:
        new.output = (key, etag)
    yield f"staged as {key}, etag {etag}", new.to(worker, "put_verdict", Verdict("success", key, etag))
    yield from _task_error(rules, state, worker)
