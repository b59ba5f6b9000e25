"""View of one task with all that is known of it: for people and as a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from console.cli.operate.pauses import describe_pause, pause_document
from console.cli.operate.tables import age, moment, say_table
from console.cli.terminal import say
from messages.codes import text_of
from services.vendors.usage import Usage, total
from tasks.control.pauses import Pause
from tasks.ledger.names import RecordBase
from tasks.ledger.records import (
    CallEnd,
    Intent,
    JobId,
    Prompted,
    SlotEnd,
    Stopped,
    Waits,
)
from tasks.ledger.snapshot import PaidCall
from tasks.lists.states import is_refunded, newest_at, state_of, why_of, word_of
from tasks.view import View
from telemetry.tracing import trace_id

__all__ = ["show_task", "task_document"]


def task_document(view: View, runs: Sequence[int], pause: Pause | None, now: float) -> dict[str, Any]:
    """Return a run as a document. Times are ISO 8601, UTC; URLs of inputs and vendors are left out.

    Args:
        view: of the run.
        runs: numbers of all runs of the step.
        pause: the operator's pause that holds it up, if there is one.
        now: seconds since the epoch by the store's clock.
    """
    accepted, verdict, delivered = view.accepted, view.verdict, view.delivered
    return {
        "task": view.run.task,
        "user": view.run.user,
        "step": view.run.step,
        "run": view.run.run,
        "runs": list(runs),
        "kind": accepted.kind if accepted else "",
        "state": state_of(view),
        "stage": view.stage.value if view.stage else None,
        "progress": {"done": view.progress.done, "of": view.progress.of},
        "why": why_of(view),
        "waits": _waits(view.waits),
        "paused": pause_document(pause) if pause else None,
        "still_s": round(max(0.0, now - newest_at(view)), 3),
        "created": moment(accepted.created) if accepted else None,
        "deadline": moment(accepted.deadline) if accepted else None,
        "params": msgspec.to_builtins(accepted.params) if accepted else {},
        "inputs": [one.key for one in accepted.inputs if one.key] if accepted else [],
        "trace_id": trace_id(accepted.traceparent) if accepted else "",
        "verdict": {"status": verdict.status, "code": verdict.code, **_degraded(view)} if verdict else None,
        "results": [one.target for one in view.results],
        "callback": _callback(view) if delivered else None,
        "refunded": is_refunded(view),
        "usage": msgspec.to_builtins(_usage(view)),
        "calls": [_call(call, view) for call in view.calls],
        "stopped": [msgspec.to_builtins(one) for one in view.stopped],
        "timeline": [
            {"at": moment(entry.at), "record": entry.name, "note": _note(entry.record)} for entry in view.timeline
        ],
    }


def show_task(view: View, runs: Sequence[int], pause: Pause | None, now: float) -> None:
    """Print a run: a line for each fact, then its paid calls and its timeline. See `task_document`."""
    document = task_document(view, runs, pause, now)
    for name, value in _facts(view, document, pause, now):
        if value:
            say(f"{name:9} {value}")
    if document["calls"]:
        say("")
        columns = ("call", "sent", "vendor", "key", "state", "job", "usage")
        say_table(columns, [[str(call[name]) for name in columns] for call in document["calls"]], "paid call")
    say("")
    rows = [[entry["at"], entry["record"], entry["note"]] for entry in document["timeline"]]
    say_table(("at", "record", "note"), rows, "record")


def _facts(view: View, document: Mapping[str, Any], pause: Pause | None, now: float) -> list[tuple[str, str]]:
    accepted, verdict, delivered = view.accepted, view.verdict, view.delivered
    done, of = view.progress.done, view.progress.of
    ended = verdict.status + (f": {verdict.code} ({text_of(verdict.code)})" if verdict.code else "") if verdict else ""
    number = f"{view.run.step}-{view.run.run}"
    others = f" (step {view.run.step} has runs {', '.join(map(str, document['runs']))})"
    still = f"; its last step was {age(now - newest_at(view))} ago" if delivered is None else ""
    return [
        ("task", view.run.task),
        ("user", view.run.user),
        ("run", number + (others if len(document["runs"]) > 1 else "")),
        ("kind", document["kind"]),
        ("state", document["state"] + (f" in {view.stage.value}" if view.stage else "") + still),
        ("progress", f"{done} of {of} slots" if of > 1 else ""),
        ("waits", _reason(view, now)),
        ("paused", describe_pause(pause, now) if pause else ""),
        ("accepted", f"{moment(accepted.created)}, {age(now - accepted.created)} ago" if accepted else ""),
        ("deadline", _deadline(accepted.deadline, now) if accepted and verdict is None else ""),
        ("verdict", ended),
        ("degraded", ", ".join(verdict.degraded) if verdict else ""),
        ("results", _results(document["results"])),
        ("callback", f"{delivered.http_status}{_judged(view)}, sent {delivered.sent}" if delivered else ""),
        ("answer", delivered.answered if delivered else ""),
        ("refunded", "yes" if document["refunded"] else ""),
        ("cost", str(_usage(view))),
        ("trace", document["trace_id"]),
        *(("stopped", f"{one.code}: {one.error} in {one.place}: {one.detail}") for one in view.stopped),
    ]


def _results(keys: Sequence[str]) -> str:
    if not keys:
        return ""
    folder = keys[0].rpartition("/")[0]
    return f"{len(keys)} in {folder}/: " + " ".join(key.rpartition("/")[2] for key in keys)


def _reason(view: View, now: float) -> str:
    if view.waits is None or view.delivered is not None:
        return why_of(view)
    again = f"looked at again in {age(view.waits.until - now)}" if view.waits.until > now else "due now"
    return f"{word_of(view.waits.why)}, for {age(now - view.waits.since)}; {again}"


def _deadline(at: float, now: float) -> str:
    return f"{moment(at)}, " + (f"in {age(at - now)}" if at > now else f"{age(now - at)} ago")


def _judged(view: View) -> str:
    if view.delivered is None or not view.delivered.conflict:
        return ""
    return " (the backend keeps the contrary)" if view.delivered.contrary else " (the backend did not confirm it)"


def _callback(view: View) -> dict[str, Any]:
    return msgspec.structs.asdict(view.delivered) if view.delivered else {}


def _waits(waits: Waits | None) -> dict[str, str] | None:
    return {"why": waits.why, "since": moment(waits.since), "until": moment(waits.until)} if waits else None


def _degraded(view: View) -> dict[str, Any]:
    return {"degraded": list(view.verdict.degraded)} if view.verdict and view.verdict.degraded else {}


def _usage(view: View) -> Usage:
    """Return what the vendors counted for the run: for its paid calls and for its prompt."""
    records = [entry.record for entry in view.timeline]
    return total(record.usage for record in records if isinstance(record, SlotEnd | Prompted))


def _call(call: PaidCall, view: View) -> dict[str, str]:
    ends = [entry.record for entry in view.timeline if entry.name == SlotEnd.at(call.slot).text]
    usage = [one.usage for one in ends if isinstance(one, SlotEnd) and one.n == call.n]
    state = "open" if call.open else "accepted"
    if call.end is not None:
        state = f"{call.end.how}: {call.end.code}"
    elif ends and not call.open:
        state = "done"
    return {
        "call": f"{call.slot}-{call.n}",
        "sent": moment(call.at),
        "vendor": call.vendor,
        "key": call.label,
        "state": state,
        "job": call.job,
        "usage": " ".join(map(str, usage)),
    }


def _note(record: RecordBase | None) -> str:
    """Return the part of a record that an operator reads first."""
    match record:
        case Waits():
            return f"{word_of(record.why)} until {moment(record.until)}"
        case Stopped():
            return f"{record.code}: {record.error}"
        case SlotEnd():
            return f"good {record.usage}".strip() if record.good else f"bad: {record.code}"
        case CallEnd():
            return f"{record.how}: {record.code}"
        case JobId():
            return record.job
        case Intent():
            return f"{record.vendor} {record.label}".strip()
        case Prompted():
            return f"by {record.source}"
        case _:
            return ""
