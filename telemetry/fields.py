"""The catalogue of fields: what a word means in a log line and among the attributes of a span, the same in both.

`docs/telemetry.md` shows this table and a test holds it against what the code says.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["FIELDS"]

FIELDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        # Of every line.
        "time": "when, UTC, to the millisecond",
        "level": "DEBUG, INFO, WARNING or ERROR",
        "event": "what happened: a name of the table of events",
        "service": "name of the function or process",
        "logger": "module that tells it",
        "trace_id": "the trace it belongs to: one a run, from the upload to the callback",
        "span_id": "the span it was told in, when spans are recorded",
        "request_id": "the platform's id of the call",
        "function": "the function whose work it is: `producer.cos_trigger`, `consumers.clean`, …",
        # Of a task and its messages.
        "user_id": "the user who bought the task",
        "task_id": "the task",
        "step": "step of the backend's pipeline",
        "run": "0; replays are reserved",
        "kind": "the recipe it follows",
        "stage": "clean, generate, poll, collect, wake, notify or dead",
        "seq": "number of the message in its stage",
        "attempt": "how often this work was tried before",
        "topic": "where the message travels",
        "topics": "what a worker takes",
        "message_id": "the broker's id of the message",
        "outcome": "what a stage said, or how a call ended",
        "taken": "what became of an upload: accepted, again, ended or refused",
        "why": "reason, in a word or two",
        "queue_delay": "seconds from the moment a message was due to its receipt",
        "took": "seconds of work",
        "delay": "seconds until a copy is due",
        "seconds": "how long a topic rests, or a call took",
        "running": "messages being worked on",
        "inputs": "how many inputs an upload names",
        "records": "how many records an event holds",
        # Of what lies outside.
        "bucket": "bucket of an object",
        "key": "key of an object",
        "size": "bytes",
        "files": "how many files",
        "wanted": "how many files there should have been",
        "pictures": "how many pictures",
        "vendor": "short name of the vendor",
        "slot": "which of the paid calls that a run needs at once, from 1",
        "n": "number of the paid call in its slot",
        "job": "the vendor's id of a job",
        "state": "where a job is: working, success or failed",
        "cost": "what a job cost, in the vendor's words",
        "reason": "why a message was given up, or a job failed, in the vendor's words",
        "client": "address that called",
        # Of ends and errors.
        "status": "a verdict's status, or an HTTP answer's",
        "mine": "whether this writer created the record",
        "result": "how a callback ended",
        "contrary": "whether the backend says that it holds the contrary verdict",
        "http_status": "what the backend answered",
        "code": "code of the catalogue that users are told",
        "error_type": "class of an error",
        "error": "its text",
        "stack": "its traceback",
        "fingerprint": "the same for dead letters of one cause",
        "detail": "text of the error that a message was given up for: one line, redacted and cut",
        "place": "module and function that raised it",
        "remedy": "what to do about it",
        "spans": "how many spans were lost",
        "thread": "thread that ended by an exception",
        "message": "a library's line",
        "cut_fields": "how many fields a line had that was too long even without them",
        # Of a sweep.
        "listed": "tasks it looked at",
        "woken": "runs it woke",
        "redelivered": "verdicts it asked to be delivered again",
        "fresh": "tasks it found at work",
        "given_up": "tasks it looks at no more",
        "errors": "tasks it could not look at",
        "odd": "rows with an alarm of their own",
        "pages": "pages it read",
        "cursor": "where it stopped",
        # Of a drain or a push.
        "done": "messages whose effect is stored",
        "put_off": "messages of users with enough under way, published anew for later",
        "cut_off": "messages that were at work at the end, and go on as copies",
        "abandoned": "messages given back because an effect failed for good",
        "held_back": "records published anew because there was no time to begin them",
        "unreadable": "records that are no envelope of a message",
        "ended": "why a drain returned: empty, or time",
    }
)
"""Field -> meaning."""
