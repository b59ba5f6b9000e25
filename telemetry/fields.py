"""Catalogue of fields: the meaning of each word, the same in log lines and in span attributes.

Tests compare it with the table of `docs/telemetry.md` and with the fields that the code uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["FIELDS"]

FIELDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        # Fields of every line.
        "time": "time of the line, UTC, in milliseconds",
        "level": "DEBUG, INFO, WARNING or ERROR",
        "event": "name of the event, from the table of events",
        "service": "name of the function or process",
        "logger": "module that logged it",
        "trace_id": "trace that it belongs to: one for each run, from the upload to the callback",
        "span_id": "span in which it was logged, if spans are recorded",
        "request_id": "the platform's id of the function call, or the id of a request of the API",
        "function": "function that does the work: `producer.cos_trigger`, `consumers.clean`, …",
        # Fields of a task and its messages.
        "user_id": "the user who bought the task",
        "task_id": "the task",
        "step": "step of the backend's pipeline",
        "run": "0, plus 1 for each replay after a delivered verdict",
        "kind": "recipe that the task follows",
        "stage": "clean, generate, poll, collect, wake, notify or dead",
        "seq": "number of the message in its stage",
        "attempt": "number of earlier attempts",
        "topic": "topic of the message",
        "topics": "topics that a worker consumes, or that are consumed again",
        "message_id": "the broker's id of the message",
        "outcome": "outcome of a stage or of a call",
        "taken": "result of an upload: accepted, again, ended or rejected",
        "why": "reason, in a few words",
        "queue_delay": "seconds from the moment a message was due to its receipt",
        "took": "seconds of work",
        "delay": "seconds until a copy is due",
        "seconds": "seconds that a topic is paused, or that a call took",
        "running": "number of messages in flight",
        "inputs": "number of inputs of an upload",
        "records": "number of records: of an event, or of rows that cannot be decoded",
        # Fields of other services.
        "bucket": "bucket of an object",
        "key": "key of an object",
        "size": "bytes",
        "files": "number of files",
        "wanted": "number of files expected",
        "pictures": "number of pictures",
        "texts": "number of texts",
        "source": "origin of a text: model, cache or template",
        "tokens_in": "tokens of a question, as the vendor counts them",
        "tokens_out": "tokens of an answer, likewise",
        "vendor": "short name of the vendor",
        "label": "label of the vendor's key, which names its account",
        "slot": "slot of a paid call: its number among those that a run needs at once, from 1",
        "n": "number of the paid call in its slot",
        "good": "true if a slot has brought its results",
        "job": "the vendor's id of a job",
        "vendor_code": "the vendor's own code of an error",
        "state": "state of a job: working, success or failed",
        "cost": "cost of a job, as the vendor reports it",
        "reason": "why a message became a dead letter, or a job failed (the vendor's text)",
        "client": "address of the caller",
        "operation": "operation of the API, as its OpenAPI document names it",
        "part": "service that the API needs",
        # Fields of ends and errors.
        "status": "a verdict's status, or an HTTP answer's",
        "mine": "true if this writer created the record",
        "result": "result of a callback",
        "contrary": "true if the backend holds the opposite verdict",
        "http_status": "HTTP status of the backend's answer",
        "code": "code of the catalogue (`messages/codes.py`)",
        "error_type": "class of an error",
        "error": "text of an error",
        "stack": "traceback of an error",
        "fingerprint": "equal for dead letters with the same cause",
        "detail": "text of the error behind a dead letter: one line, redacted and cut",
        "action": "effect of a replay: deliver, wake, new_run or resume",
        "by": "operator who replayed or purged a dead letter, erased a user, or began or ended a pause",
        "paused": "vendors and kinds that operators have paused, or the one whose pause began or ended",
        "place": "module and function that raised the error",
        "remedy": "what an operator can do about it",
        "spans": "number of spans lost",
        "thread": "thread that an exception ended",
        "message": "text of a library's line",
        "cut_fields": "number of fields dropped from a line that was too long",
        # Fields of a sweep.
        "listed": "tasks checked",
        "woken": "runs woken",
        "redelivered": "verdicts for which another delivery was requested",
        "fresh": "tasks still in progress",
        "given_up": "tasks too old to be checked",
        "errors": "tasks that could not be checked",
        "odd": "rows that raised an alarm",
        "pages": "pages read",
        "cursor": "cursor at which it stopped",
        # Fields of a drain or a push.
        "done": "messages whose effect is stored",
        "throttled": "messages published again with a delay: too many of their user are at work, or they run isolated",
        "cut_off": "messages that were interrupted at the end of the call; copies go on",
        "abandoned": "messages given back because an effect or the ack failed for good",
        "deferred": "records published again because the call had no time left for them",
        "unreadable": "records that are no message of a queue",
        "ended": "why a drain returned: empty or time",
    }
)
"""Field -> meaning."""
