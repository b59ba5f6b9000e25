"""Dead letters as tables for people and as documents for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from console.cli.operate.tables import moment, say_table
from console.cli.terminal import say
from messages.codec import Message, try_decode
from tasks.dead_letters.groups import Group
from tasks.dead_letters.letters import Letter
from tasks.dead_letters.plan import decide, meaning_of
from tasks.dead_letters.replay import Step
from tasks.dead_letters.standing import Case, Standing
from telemetry.tracing import trace_id

__all__ = [
    "group_document",
    "letter_document",
    "purge_document",
    "show_groups",
    "show_letters",
    "show_purges_end",
    "show_step",
    "show_steps_end",
    "show_whole",
    "steps_document",
    "whole_document",
]


def group_document(group: Group) -> dict[str, Any]:
    """Return a group as a document; times are ISO 8601, UTC."""
    document: dict[str, Any] = msgspec.to_builtins(group)
    return {**document, "first": moment(group.first), "last": moment(group.last)}


def letter_document(case: Case) -> dict[str, Any]:
    """Return a letter as a document, without its original."""
    letter, record = case.letter, case.letter.record
    if record is None:
        return {"id": letter.id.text, "at": moment(letter.at), "readable": False, "replays": _replays_of(letter)}
    document: dict[str, Any] = msgspec.to_builtins(record)
    for name in ("original", "encoding", "traceparent", "verdict"):
        del document[name]
    return {
        "id": letter.id.text,
        "readable": True,
        **document,
        "at": moment(letter.at),
        "kind": case.kind,
        "trace_id": trace_id(record.traceparent),
        "verdict": _verdict_of(case),
        "now": _now_of(case),
        "refunded": case.refunded,
        "replays": _replays_of(letter),
    }


def whole_document(case: Case) -> dict[str, Any]:
    """Return a letter as a document, with its original, its run, its replays, and what a replay would do."""
    record = case.letter.record
    document = letter_document(case)
    if record is not None:
        document |= {"original": record.original, "encoding": record.encoding, "message": _message_of(record.original)}
    plan = decide(case)
    return {
        **document,
        "runs": _runs_of(case),
        "replay": {"does": plan.does.value, "run": plan.run, "meaning": meaning_of(plan)},
    }


def steps_document(steps: Sequence[Step], *, acts: bool) -> dict[str, Any]:
    """Return the steps of a replay as a document."""
    return {
        "dry_run": not acts,
        "counts": dict(_counts(steps)),
        "letters": [
            {
                "id": step.case.letter.id.text,
                **_address_of(step.case),
                "does": step.plan.does.value,
                "run": step.plan.run,
                "meaning": meaning_of(step.plan),
            }
            for step in steps
        ],
    }


def purge_document(cases: Sequence[Case], *, acts: bool) -> dict[str, Any]:
    """Return purged letters as a document."""
    return {"dry_run": not acts, "letters": [{"id": case.letter.id.text, **_address_of(case)} for case in cases]}


def show_groups(groups: Sequence[Group]) -> None:
    """Print groups as a table."""
    columns = (
        *("fingerprint", "letters", "first", "last", "kinds", "stage", "code", "error", "place", "detail"),
        *("refunded", "replayed"),
    )
    rows = [
        [
            *(group.fingerprint, str(group.count), moment(group.first), moment(group.last), ", ".join(group.kinds)),
            *(group.stage or group.reason, group.code, group.error, group.place, group.detail),
            *(str(group.refunded), str(group.replayed)),
        ]
        for group in groups
    ]
    say_table(columns, rows, "group")


def show_letters(cases: Sequence[Case]) -> None:
    """Print letters as a table."""
    columns = (
        "id",
        "recorded",
        "task",
        "user",
        "run",
        "kind",
        "stage",
        "code",
        "verdict",
        "refunded",
        "replays",
        "now",
    )
    rows = []
    for case in cases:
        row = letter_document(case)
        run = f"{row['step']}-{row['run']}" if row["readable"] else ""
        words = (str(row.get(name, "")) for name in ("task", "user"))
        more = (str(row.get(name, "")) for name in ("kind", "stage", "code", "verdict"))
        refunded = "yes" if case.refunded else "no"
        rows.append([row["id"], row["at"], *words, run, *more, refunded, str(len(row["replays"])), row.get("now", "")])
    say_table(columns, rows, "dead letter")


def show_whole(case: Case) -> None:
    """Print everything about a letter, a line for each fact."""
    document = whole_document(case)
    runs, replays, replay = document.pop("runs"), document.pop("replays"), document.pop("replay")
    for name, value in document.items():
        say(f"{name:12} {_text(value)}")
    for run in runs:
        say(f"{'run ' + str(run.pop('run')):12} {_text(run)}")
    for one in replays:
        say(f"{'replayed':12} {_text(one)}")
    say(f"{'a replay':12} {replay['meaning']}")


def show_step(step: Step, *, acts: bool) -> None:
    """Print what was done about a letter, or what would be done."""
    address = _address_of(step.case)
    where = f"task {address['task']}, run {step.plan.run}" if address["task"] else "no task"
    would = "" if acts or not step.plan.acts else "would: "
    say(f"{step.case.letter.id.text}  {where}: {would}{meaning_of(step.plan)}")


def show_steps_end(steps: Sequence[Step], *, acts: bool) -> None:
    """Print the counts of a replay."""
    counts = ", ".join(f"{name} {count}" for name, count in _counts(steps)) or "no dead letter"
    say(counts if acts else f"dry run: {counts}" + ("; give --yes to do it" if steps else ""))


def show_purges_end(cases: Sequence[Case], *, acts: bool) -> None:
    """Print the number of purged letters."""
    say(f"purged {len(cases)}" if acts else f"dry run: would purge {len(cases)}; give --yes to do it")


def _counts(steps: Sequence[Step]) -> list[tuple[str, int]]:
    return sorted(Counter(step.plan.does.value for step in steps).items())


def _address_of(case: Case) -> Mapping[str, Any]:
    if isinstance(case.standing, Standing):
        run = case.standing.own.run
        return {"user": run.user, "task": run.task, "step": run.step}
    record = case.letter.record
    return {"user": record.user, "task": record.task, "step": record.step} if record else {"user": "", "task": ""}


def _verdict_of(case: Case) -> str:
    """Return the verdict of the letter's own run; empty without one."""
    verdict = case.standing.own.verdict if isinstance(case.standing, Standing) else None
    return verdict.status if verdict else ""


def _replays_of(letter: Letter) -> list[dict[str, Any]]:
    return [{**msgspec.to_builtins(replay), "at": moment(replay.at)} for replay in letter.replays]


def _now_of(case: Case) -> str:
    """Return the state of the last run: its verdict, or `at work`; empty if no run is known."""
    if not isinstance(case.standing, Standing) or case.standing.current.accepted is None:
        return ""
    current = case.standing.current
    return f"run {current.run.run} {current.verdict.status if current.verdict else 'at work'}"


def _runs_of(case: Case) -> list[dict[str, Any]]:
    if not isinstance(case.standing, Standing):
        return []
    return [
        {
            "run": state.run.run,
            "status": state.verdict.status if state.verdict else "",
            "code": state.verdict.code if state.verdict else "",
            "delivered": state.delivered is not None,
            "refunded": state.refunded,
            "denied": state.denied,
        }
        for state in (case.standing.own, *case.standing.later)
    ]


def _message_of(original: str) -> dict[str, Any] | None:
    """Return the header and body of an original, unchecked; None if it cannot be read."""
    found = try_decode(original.encode("utf-8", "surrogatepass"))
    if not isinstance(found, Message):
        return None
    parts = {"header": msgspec.structs.asdict(found.header), "body": msgspec.structs.asdict(found.body)}
    message: dict[str, Any] = msgspec.to_builtins(parts)
    return message


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(part)}" for name, part in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
