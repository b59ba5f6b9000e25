"""Catalogue of metrics and spans: name, kind, unit, labels or attributes, meaning. Released names never change.

A test compares it with the tables of `docs/telemetry.md`. Labels have few values each (stage, kind, vendor, outcome)
and are never ids; ids are attributes of spans.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

__all__ = ["Metric", "MetricKind", "SpanKind", "SpanName"]

MetricKind = Literal["counter", "histogram", "gauge"]

SpanKind = Literal["server", "consumer", "client", "internal"]
"""Kinds of OpenTelemetry: server and consumer spans are entry points, client spans are calls to other services."""


class Metric(StrEnum):
    """Every metric. Each member has `kind`, `unit` (UCUM), `labels` and `meaning`."""

    kind: MetricKind
    unit: str
    labels: tuple[str, ...]
    meaning: str

    def __new__(cls, name: str, kind: MetricKind, unit: str, labels: tuple[str, ...], meaning: str) -> Self:
        """Create a member whose value is the name, with the rest as attributes."""
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
        "messages that were decoded and due",
    )
    MESSAGES_THROTTLED = (
        "scf_workers.messages.throttled",
        "counter",
        "{message}",
        ("stage",),
        "messages published again with a delay: too many of their user are at work there, or they run isolated",
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
        "time from a message's receipt to its stored effect",
    )
    QUEUE_DELAY = (
        "scf_workers.queue.delay",
        "histogram",
        "s",
        ("stage",),
        "time from the moment a message was due to its receipt",
    )
    ATTEMPTS_SPENT = (
        "scf_workers.attempts.spent",
        "counter",
        "{attempt}",
        ("stage", "why"),
        "attempts that failed and were followed by another, by cause: `error` or `crash`",
    )
    VENDOR_CALLS = (
        "scf_workers.vendor.calls",
        "counter",
        "{call}",
        ("vendor", "call", "outcome"),
        "calls of a vendor: `room`, `upload`, `create`, `query`, `cancel`, `ask`, `check`; of a query the job's state",
    )
    VENDOR_DURATION = (
        "scf_workers.vendor.duration",
        "histogram",
        "s",
        ("vendor", "call"),
        "time until a vendor's answer",
    )
    REPEATED = (
        "scf_workers.requests.repeated",
        "counter",
        "{request}",
        ("service",),
        "reads that failed at once and were made again in place, by `store`, `vendor` and `backend`",
    )
    VENDOR_KEYS = (
        "scf_workers.vendor.keys",
        "gauge",
        "{key}",
        ("vendor", "state"),
        "keys of a vendor that are `open`, `paused` (full) or `draining`, as one pump knows them; take the maximum",
    )
    VENDOR_PERMITS = (
        "scf_workers.vendor.permits",
        "gauge",
        "{call}",
        ("vendor", "state"),
        "paid calls of one pump: `held` are under way, `most` may be at once (absent without a limit); add them up",
    )
    VENDOR_WAITING = (
        "scf_workers.vendor.waiting",
        "gauge",
        "{slot}",
        ("vendor",),
        "slots that wait for room at a vendor, as one pump knows them; take the maximum",
    )
    VENDOR_SPENT = (
        "scf_workers.vendor.spent",
        "gauge",
        "{call}",
        ("vendor",),
        "paid calls of this UTC day, where they have a cap; take the maximum",
    )
    VENDOR_CAPPED = (
        "scf_workers.vendor.capped",
        "counter",
        "{call}",
        ("vendor",),
        "paid calls that were put off because the calls of the day are made: an alarm",
    )
    VENDOR_USAGE = (
        "scf_workers.vendor.usage",
        "counter",
        "1",
        ("vendor", "kind", "of"),
        "usage of paid calls, counted once: `coins`, `pictures`, `tokens_in`, `tokens_out`, `seconds`, `money`",
    )
    PAID_UNKNOWN = (
        "scf_workers.paid.unknown",
        "counter",
        "{call}",
        ("vendor",),
        "paid calls that were sent and whose outcome is unknown: an alarm",
    )
    PROMPTS = (
        "scf_workers.prompts",
        "counter",
        "{text}",
        ("kind", "source"),
        "texts of runs, by `model`, `cache` or `template`",
    )
    PROMPT_CACHE = (
        "scf_workers.prompt.cache",
        "counter",
        "{look}",
        ("kind", "outcome"),
        "looks for a text that may be used again: `hit` or `miss`",
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
        "dead letters published; `stage` is `unreadable` if the message could not be decoded",
    )
    BACKLOG = (
        "scf_workers.backlog",
        "gauge",
        "{message}",
        ("topic", "state"),
        "messages on a topic that are `ready`, `delayed` or `in_flight`; every pump reports it, so take the maximum",
    )
    BACKLOG_AGE = (
        "scf_workers.backlog.age",
        "gauge",
        "s",
        ("topic",),
        "age of the oldest ready message of a topic, since it was due",
    )


class SpanName(StrEnum):
    """Every span. Each member has `kind`, `which`, `attributes` and `meaning`.

    The name of a span is its member's value and, where `which` is not empty, a second word: `consume clean`.
    """

    kind: SpanKind
    which: str
    """Meaning of the second word of its name; empty for none."""
    attributes: tuple[str, ...]
    meaning: str

    def __new__(cls, name: str, kind: SpanKind, which: str, attributes: tuple[str, ...], meaning: str) -> Self:
        """Create a member whose value is the name, with the rest as attributes."""
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
        "accepting one upload; a child of the call, or linked to it if one call brings several uploads",
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
        "one message from receipt to ack; a child of the span that published it",
    )
    WOKEN = (
        "woken",
        "internal",
        "",
        ("function", "user_id", "task_id", "why"),
        "a wake has found its run: the run's own trace goes on, linked to the span that published the wake",
    )
    PROCESS = "process", "client", "", ("key",), "the picture service processes one picture"
    VENDOR = (
        "vendor",
        "client",
        "call",
        ("vendor", "outcome"),
        "one call of a vendor: `room`, `upload`, `create`, `query` or `cancel`; of a chat model `ask` or `check`",
    )
    DOWNLOAD = "download", "client", "", ("key", "size"), "one result is streamed from the vendor to staging"
    AUDIT = "audit", "client", "", ("pictures", "texts"), "the content audit checks pictures in one batch, or a text"
    VERDICT = (
        "verdict",
        "client",
        "",
        ("status", "code", "mine"),
        "writing the run's verdict; `mine` is false if another one existed already",
    )
    PROMOTE = "promote", "client", "", ("files",), "copying the results of a success to the output folder"
    CALLBACK = "callback", "client", "", ("status", "result", "http_status"), "sending the verdict to the backend"
