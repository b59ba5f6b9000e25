"""The catalogue of metrics and spans: name, kind, unit, labels or attributes, meaning. Names once released stay.

`docs/telemetry.md` shows these tables and a test holds it against them. Labels are few and of few values (stage, kind,
vendor, outcome), never an id; ids are attributes of spans.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

__all__ = ["Metric", "MetricKind", "SpanKind", "SpanName"]

MetricKind = Literal["counter", "histogram", "gauge"]

SpanKind = Literal["server", "consumer", "client", "internal"]
"""As OpenTelemetry means them: server and consumer spans are entries, client spans are calls to the outside."""


class Metric(StrEnum):
    """Every metric. Each member has `kind`, `unit` (UCUM), `labels` and `meaning`."""

    kind: MetricKind
    unit: str
    labels: tuple[str, ...]
    meaning: str

    def __new__(cls, name: str, kind: MetricKind, unit: str, labels: tuple[str, ...], meaning: str) -> Self:
        """A member is its name; the rest goes along."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.kind, member.unit, member.labels, member.meaning = kind, unit, labels, meaning
        return member

    TASKS_ACCEPTED = (
        "scf_workers.tasks.accepted",
        "counter",
        "{task}",
        ("kind",),
        "runs whose record `accepted` was created",
    )
    VERDICTS = (
        "scf_workers.verdicts",
        "counter",
        "{verdict}",
        ("kind", "status"),
        "verdicts written: `success`, `failed` or `cancelled`; each run counts once",
    )
    MESSAGES_RECEIVED = (
        "scf_workers.messages.received",
        "counter",
        "{message}",
        ("stage", "kind"),
        "deliveries that were decoded and due",
    )
    MESSAGES_PUT_OFF = (
        "scf_workers.messages.put_off",
        "counter",
        "{message}",
        ("stage",),
        "messages that were published anew for later, because their user has enough under way in that process",
    )
    MESSAGES_DONE = (
        "scf_workers.messages.done",
        "counter",
        "{message}",
        ("stage", "kind", "outcome"),
        "messages whose effect is stored, by outcome: `next`, `done`, `snooze`, `retry`, `dead_lettered`, …",
    )
    STAGE_DURATION = (
        "scf_workers.stage.duration",
        "histogram",
        "s",
        ("stage", "outcome"),
        "from a message's receipt to its stored effect",
    )
    QUEUE_DELAY = (
        "scf_workers.queue.delay",
        "histogram",
        "s",
        ("stage",),
        "from the moment a message was due to its receipt",
    )
    ATTEMPTS_SPENT = (
        "scf_workers.attempts.spent",
        "counter",
        "{attempt}",
        ("stage", "why"),
        "attempts that did not end their work, and were followed by another: `error` or `crash`",
    )
    VENDOR_CALLS = (
        "scf_workers.vendor.calls",
        "counter",
        "{call}",
        ("vendor", "call", "outcome"),
        "calls of a vendor, by `room`, `upload`, `create`, `query`, `cancel`; a query's outcome is the job's state",
    )
    VENDOR_DURATION = (
        "scf_workers.vendor.duration",
        "histogram",
        "s",
        ("vendor", "call"),
        "how long a vendor's answer took",
    )
    PAID_UNKNOWN = (
        "scf_workers.paid.unknown",
        "counter",
        "{call}",
        ("vendor",),
        "paid calls that were sent and whose outcome nobody knows: an alarm",
    )
    CALLBACKS = (
        "scf_workers.callbacks",
        "counter",
        "{callback}",
        ("result",),
        "callbacks sent: `delivered`, `conflict` (alarm), `refused` (our signature: alarm) or `failed`",
    )
    DEAD_LETTERS = (
        "scf_workers.dead_letters",
        "counter",
        "{message}",
        ("stage", "reason"),
        "dead letters published; `stage` is `unreadable` where none could be read",
    )
    BACKLOG = (
        "scf_workers.backlog",
        "gauge",
        "{message}",
        ("topic", "state"),
        "messages on a topic that are `ready`, `delayed` or `in_flight`; every pump tells it, so take the maximum",
    )
    BACKLOG_AGE = (
        "scf_workers.backlog.age",
        "gauge",
        "s",
        ("topic",),
        "how long the oldest ready message of a topic has been due",
    )


class SpanName(StrEnum):
    """Every span. Each member has `kind`, `which`, `attributes` and `meaning`.

    A span is called by its member and, where `which` says so, by one word more: `consume clean`, `vendor create`.
    """

    kind: SpanKind
    which: str
    """What the second word of its name is; empty for none."""
    attributes: tuple[str, ...]
    meaning: str

    def __new__(cls, name: str, kind: SpanKind, which: str, attributes: tuple[str, ...], meaning: str) -> Self:
        """A member is its name; the rest goes along."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.kind, member.which, member.attributes, member.meaning = kind, which, attributes, meaning
        return member

    HANDLE = "handle", "server", "function", ("function",), "one call of a function's handler"
    INTAKE = (
        "intake",
        "internal",
        "",
        ("user_id", "task_id", "taken"),
        "an upload becomes a task; its parent is the call, or, when one call brings several uploads, linked",
    )
    CONSUME = (
        "consume",
        "consumer",
        "stage",
        (
            "function",
            "user_id",
            "task_id",
            "step",
            "run",
            "stage",
            "seq",
            "attempt",
            "kind",
            "topic",
            "message_id",
            "queue_delay",
            "outcome",
        ),
        "one message from receipt to ack; its parent is the span that published it",
    )
    WOKEN = (
        "woken",
        "internal",
        "",
        ("function", "user_id", "task_id", "why"),
        "a wake has found its run: the run's own trace goes on, linked to whoever woke it",
    )
    PROCESS = "process", "client", "", ("key",), "the picture service makes one picture"
    VENDOR = (
        "vendor",
        "client",
        "call",
        ("vendor", "outcome"),
        "one call of a vendor: `room`, `upload`, `create`, `query` or `cancel`",
    )
    DOWNLOAD = "download", "client", "", ("key", "size"), "one result streams from the vendor to staging"
    AUDIT = "audit", "client", "", ("pictures",), "the content audit looks at every picture of a result"
    VERDICT = (
        "verdict",
        "client",
        "",
        ("status", "code", "mine"),
        "the run's verdict is written; `mine` is false when another one was there already",
    )
    PROMOTE = "promote", "client", "", ("files",), "the results of a success are copied to where clients look"
    CALLBACK = "callback", "client", "", ("status", "result", "http_status"), "the backend is told the verdict"
