"""Catalogue of event names. Operators search and alarm on them, so a released name never changes.

Names have the form `subject.what_happened`. `telemetry.fields` describes the fields of an event.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self

__all__ = ["Event"]


class Event(StrEnum):
    """Every event this product logs. Each member has a `meaning`."""

    meaning: str

    def __new__(cls, name: str, meaning: str) -> Self:
        """Create a member whose value is the name, with its meaning as an attribute."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.meaning = meaning
        return member

    OBJECT_IGNORED = "object.ignored", "an upload outside the input folder, or a file that is no input; no task starts"
    OBJECT_REJECTED = "object.rejected", "an upload that has the shape of an input but breaks a rule"
    TICKET_REJECTED = "ticket.rejected", "an upload without a valid ticket for this very task; nothing is done"
    TASK_ACCEPTED = "task.accepted", "a run's record `accepted` was created"
    TASK_REJECTED = (
        "task.rejected",
        "an upload that cannot be processed: verdict `failed`, or nothing if it was deleted",
    )
    UPLOAD_FAILED = "upload.failed", "an upload could not be accepted now; the platform calls again"
    TASK_CANCELLED = "task.cancelled", "a cancellation was written as the run's verdict"

    MESSAGE_RECEIVED = "message.received", "a message was decoded and is due"
    MESSAGE_DONE = "message.done", "a message's effect is stored and the message was acked"
    MESSAGE_SNOOZED = "message.snoozed", "a delayed copy was published; no attempt was spent"
    MESSAGE_THROTTLED = (
        "message.throttled",
        "published again with a delay: its user has too many messages at work here, or it is to run isolated",
    )
    MESSAGE_THROTTLE_FAILED = (
        "message.throttle_failed",
        "could not be published again with a delay, so the message is handled now",
    )
    MESSAGE_RETRIED = "message.retried", "a copy with attempt + 1 was published after an error"
    MESSAGE_DROPPED = (
        "message.dropped",
        "acked without work: another message carries the run, or nothing was left to do",
    )
    MESSAGE_FAILED = (
        "message.failed",
        "an error before the stage ran, or while its outcome was stored and published; a later event has the outcome",
    )
    MESSAGE_UNPROVEN = (
        "message.unproven",
        "a message claims what neither the ledger nor the vendor confirms; nothing is done: an alarm",
    )
    MESSAGE_PUT_BACK = (
        "message.put_back",
        "its stage, schema or key is not known here; published again as it came, in its first ten minutes",
    )
    MESSAGE_ABANDONED = (
        "message.abandoned",
        "an effect or the ack failed for good; the broker delivers the message again: an alarm",
    )
    BROKER_AWAY = "broker.away", "the broker does not deliver or accept messages now; the call is tried again"
    SUBSCRIPTION_UNVERIFIED = (
        "subscription.unverified",
        "this token may only publish, so the topic's subscription cannot be created or checked from here",
    )
    BATCHES_FOUND = "batches.found", "a producer sends batches: the topic is subscribed again with a queue of one"
    TOKEN_STALE = "token.stale", "the broker's token could not be read again; the last one stays in use"
    MESSAGE_RELEASED = (
        "message.released",
        "given back to the broker: this process stops, has no room for it, or could not handle it",
    )
    STAGE_FAILED = "stage.failed", "a stage raised an error; a later event has the outcome"
    DEAD_LETTER_HANDLING_FAILED = (
        "dead_letter.handling_failed",
        "the failure function failed; it tries again, or in the end records what it can: an alarm",
    )
    MESSAGE_DEAD_LETTERED = "message.dead_lettered", "published to its dead-letter topic"
    MESSAGE_UNREADABLE = "message.unreadable", "bytes, a schema or a stage this build does not know: a dead letter"
    MESSAGE_CRASH_DETECTED = (
        "message.crash_detected",
        "a mark shows that an earlier process died while it handled this message",
    )

    VENDOR_JOB_CREATED = "vendor.job_created", "a vendor accepted a paid call: it returned a job, or the results"
    PAID_UNKNOWN = "paid.unknown", "a paid vendor call was sent, and it is unknown whether it was accepted"
    LEDGER_WRITE_FAILED = (
        "ledger.write_failed",
        "what a paid call returned could not be stored; it is tried again, or its message carries it on",
    )
    VENDOR_POLLED = "vendor.polled", "a vendor was asked for the state of a job"
    SLOT_ENDED = "slot.ended", "a paid call of a run came to its end, good or bad"
    JOB_FAILED = "job.failed", "a job failed at the vendor; `reason` holds the vendor's text"
    JOB_MISSING = "job.missing", "the vendor no longer knows a job that it had accepted; polled until the deadline"
    VENDOR_CANCELLED = "vendor.cancelled", "the vendor was asked to stop a job"
    WEBHOOK_RECEIVED = "webhook.received", "a vendor's webhook became a wake"
    WEBHOOK_REJECTED = "webhook.rejected", "a webhook call was rejected: unknown path, unreadable body, or no broker"
    WEBHOOK_IGNORED = "webhook.ignored", "a webhook fits no paid call of its run, or the vendor does not confirm it"
    PAID_RECOVERED = (
        "paid.recovered",
        "a webhook, or the vendor asked for it, brought the id of a call whose answer was lost",
    )
    RESULT_BLOCKED = "result.blocked", "the audit blocked a result; its slot is lost"
    AUDIT_LATE = "audit.late", "the audit of results is down; a later message goes on"
    LABEL_LATE = "label.late", "the label of a video failed or is late; a later message goes on"
    RESULT_STORED = "result.stored", "one result was stored in staging"

    VERDICT_WRITTEN = "verdict.written", "the one terminal record of a run was created"
    VERDICT_FOUND = "verdict.found", "a verdict exists already and stands"
    CALLBACK_DELIVERED = "callback.delivered", "the backend has acknowledged a verdict"
    CALLBACK_LEFT = "callback.left", "another message has just written the verdict; a notify checks its callback"
    CALLBACK_CONFLICT = (
        "callback.conflict",
        "the backend answered 409; `contrary` is true if it holds the opposite verdict: an alarm",
    )
    CALLBACK_REFUSED = "callback.refused", "the backend rejects our signature (401, 403): an alarm"
    CALLBACK_FAILED = "callback.failed", "a callback was not delivered and will be repeated"
    STORE_UNCHECKED = "store.unchecked", "the ledger's store could not be checked at start; a worker checks again"
    INDEX_LATE = "index.late", "an accepted task could not be entered in the task lists; a wake enters it later"
    STATE_UNKNOWN = "state.unknown", "the backend gave no state of a step; results are shown nevertheless"
    CLEANUP_LATE = (
        "cleanup.late",
        "the callback was delivered, but cleanup (jobs, staging, withdrawn results) is not complete and is repeated",
    )
    WAIT_UNRECORDED = "wait.unrecorded", "the reason why a run waits could not be recorded; the run goes on"

    STORE_REFUSED = (
        "store.refused",
        "COS rejects this machine, or one of its calls; the affected tasks wait: an alarm",
    )
    VENDOR_ACCOUNT = (
        "vendor.account",
        "a vendor refuses what only a person can mend: its key, our funds, a spend cap, a model: an alarm",
    )
    PROMPT_WRITTEN = "prompt.written", "a run's text was stored, by the model, the cache or the template (`source`)"
    PROMPT_TEMPLATE_USED = (
        "prompt.template_used",
        "the chat model gave no text (`error`), so the recipe's template is taken",
    )
    PROMPT_STUCK = "prompt.stuck", "even a recipe's template gives no text, which is tried until the deadline: an alarm"
    VENDOR_CAPPED = "vendor.capped", "the paid calls that one day allows are made; tasks wait for the next: an alarm"
    VENDOR_MISSING = "vendor.missing", "a kind's vendor is not configured on this machine; its tasks wait: an alarm"

    SWEEP_DONE = "sweep.done", "a sweep has read the backend's list of unfinished tasks"
    SWEEP_ROW_ODD = "sweep.row_odd", "a row of the backend's list for which no verdict is possible (`why`): an alarm"
    SWEEP_BACKLOG_UNAVAILABLE = (
        "sweep.backlog_unavailable",
        "the backlogs could not be read: the sweep wakes also runs that only wait in a queue",
    )
    BACKEND_ROWS_UNREADABLE = (
        "backend.rows_unreadable",
        "rows of the backend's list that cannot be decoded: no sweep guards those tasks: an alarm",
    )
    SWEEP_ROW_FAILED = "sweep.row_failed", "one unfinished task could not be checked; the next sweep tries again"
    WAKE_PUBLISHED = "wake.published", "a wake for a run was published"
    DEAD_LETTER_RECORDED = "dead_letter.recorded", "a dead letter was recorded in the ledger bucket"
    DEAD_LETTER_REPLAYED = "dead_letter.replayed", "an operator replayed a dead letter: `action` has its effect"
    USER_ERASED = "user.erased", "an operator began to erase a user's data"
    DEAD_LETTER_PURGED = "dead_letter.purged", "an operator deleted a dead letter"

    CONTROL_PAUSED = "control.paused", "an operator paused a vendor or a kind"
    CONTROL_RESUMED = "control.resumed", "an operator ended a pause"
    PAUSES_CHANGED = "pauses.changed", "this process has read other pauses than before: `paused` lists all of them"
    PAUSES_UNREAD = "pauses.unread", "the operators' pauses could not be read; those that were read last stay in force"

    TOPIC_PAUSED = "topic.paused", "a topic is paused, because of an outage"
    VENDOR_PAUSED = "vendor.paused", "a vendor's key is full: paid calls with it are paused"
    TOPIC_RESUMED = "topic.resumed", "a topic is consumed again"
    WORKER_STARTED = "worker.started", "a worker process consumes messages"
    WORKER_DRAINING = "worker.draining", "a worker takes no more messages and finishes those in flight"
    WORKER_STOPPED = "worker.stopped", "a worker has finished or given back every message"
    DRAIN_DONE = "drain.done", "one call of the drain has ended"
    PUSH_DONE = "push.done", "one call of the push has ended"
    PUSH_UNREADABLE = "push.unreadable", "a record of an event that is no message of a queue: a dead letter"
    PUSH_DEFERRED = "push.deferred", "no time left in this call for a record; its message was published again"
    PUSH_UNSETTLED = (
        "push.unsettled",
        "a record could be neither handled nor published again; the platform calls again",
    )

    HEALTH_FILE_UNWRITABLE = (
        "health.file_unwritable",
        "HEALTH_FILE cannot be touched; the pump works on, but its probe reports it as unhealthy",
    )
    STATUS_UNWRITTEN = (
        "status.unwritten",
        "a process could not write its status to the ledger's bucket; it works on",
    )
    BACKLOG_UNKNOWN = "backlog.unknown", "the broker did not report a topic's backlog; asked again later"
    TELEMETRY_OFF = "telemetry.off", "a collector is configured but cannot be used from here; the work goes on"
    TELEMETRY_LOST = "telemetry.lost", "spans that could not be sent in time were dropped; the work goes on"

    API_STARTED = "api.started", "the API answers requests"
    API_ANSWERED = "api.answered", "the API answered a request; `status` and `took` say how"
    API_SOLD = "api.sold", "the backend sold a task to a user of the API, and its task.json is stored"
    API_ACCEPT_LATE = (
        "api.accept_late",
        "a sold task could not be taken in at once, or its wake not be published; the sweep finds it in the end",
    )
    API_WATCH_FAILED = "api.watch_failed", "the records of a watched task could not be read; the poll goes on"
    API_PART_AWAY = "api.part_away", "a service that the API needs did not pass the health check"
    API_UNAVAILABLE = "api.unavailable", "a request of the API was answered with 503: a service that it needs is away"
    API_FAILED = "api.failed", "a defect: a request of the API was answered with 500"

    CALL_FAILED = "call.failed", "a function's handler raised; the platform gets the error's text without its causes"
    PROCESS_CRASHED = "process.crashed", "an uncaught exception ends the process or a thread"
    LIBRARY_LOG = "library.log", "a line of a library, in the field `message`"
