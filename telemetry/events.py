"""The catalogue of event names. Operators search and alarm on them, so a name once released stays.

Names are `subject.what_happened`. Fields of an event are in the docs; the meaning here is one line each.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self

__all__ = ["Event"]


class Event(StrEnum):
    """Every event this product logs. Each member has a `meaning`."""

    meaning: str

    def __new__(cls, name: str, meaning: str) -> Self:
        """A member is its name; the meaning goes along."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.meaning = meaning
        return member

    OBJECT_IGNORED = "object.ignored", "an upload that starts no task: another folder, another file"
    OBJECT_REFUSED = "object.refused", "an upload that has the shape of an input but breaks a rule"
    TICKET_REFUSED = "ticket.refused", "no ticket sells the upload; without one of this very task nothing is done"
    TASK_ACCEPTED = "task.accepted", "a run's record `accepted` was created"
    TASK_REFUSED = "task.refused", "an upload that cannot be done: verdict `failed`, or nothing where it is gone"
    UPLOAD_FAILED = "upload.failed", "an upload could not be taken in now; the platform calls again"
    TASK_CANCELLED = "task.cancelled", "a cancel was written as the run's verdict"

    MESSAGE_RECEIVED = "message.received", "a delivery was decoded and is due"
    MESSAGE_DONE = "message.done", "its effect is stored and it was acked"
    MESSAGE_SNOOZED = "message.snoozed", "a copy for later was published, no attempt spent"
    MESSAGE_PUT_OFF = "message.put_off", "published anew for later, because its user has enough under way here"
    MESSAGE_RETRIED = "message.retried", "a copy with attempt + 1 was published after an error"
    MESSAGE_DROPPED = (
        "message.dropped",
        "acked without work: another message carries the run, or nothing was left to do",
    )
    MESSAGE_ABANDONED = (
        "message.abandoned",
        "an effect or its ack failed for good; the broker delivers it again: an alarm",
    )
    BROKER_AWAY = "broker.away", "the broker gives no messages just now; the consumer asks again"
    SUBSCRIPTION_UNSURE = (
        "subscription.unsure",
        "this token may publish only: somebody else must see to it that the topic's subscription exists",
    )
    BATCHES_FOUND = "batches.found", "somebody publishes batches: the topic is subscribed anew, with a queue of one"
    TOKEN_STALE = "token.stale", "the broker's token could not be read anew; the last one is used on"
    MESSAGE_RELEASED = "message.released", "given back: this process stops, has no room for it, or failed at it"
    STAGE_FAILED = "stage.failed", "a stage raised; what followed is in the next line of the message"
    FAILURE_STUCK = "failure.stuck", "the failure function met an error of its own and tries again: an alarm"
    MESSAGE_DEAD_LETTERED = "message.dead_lettered", "published to its dead-letter topic"
    MESSAGE_UNREADABLE = "message.unreadable", "bytes, a schema or a stage this build does not know: a dead letter"
    CRASH_FOUND = "crash.found", "a mark shows that an earlier process died on this message"

    PAID_CREATE = "paid.create", "a paid vendor call was sent and its outcome is known"
    PAID_UNKNOWN = "paid.unknown", "a paid vendor call was sent and nobody knows whether it was accepted"
    VENDOR_POLLED = "vendor.polled", "a job was looked at"
    JOB_FAILED = "job.failed", "the vendor ended a job badly; `reason` has its own words"
    JOB_MISSING = "job.missing", "the vendor does not know a job that it had accepted; looked at until the deadline"
    VENDOR_CANCELLED = "vendor.cancelled", "the vendor was asked to stop a job"
    WEBHOOK_RECEIVED = "webhook.received", "a vendor's webhook became a wake"
    WEBHOOK_REFUSED = "webhook.refused", "a webhook call that was not taken: not our path, not readable, or no broker"
    WEBHOOK_IGNORED = "webhook.ignored", "a webhook's hint that fits no paid call of its run, or that the vendor denies"
    PAID_RECOVERED = "paid.recovered", "a webhook brought the id of a paid call whose answer was lost"
    RESULT_STORED = "result.stored", "one result lies in staging"

    VERDICT_WRITTEN = "verdict.written", "the one terminal record of a run was created"
    VERDICT_FOUND = "verdict.found", "a verdict was there already and stands"
    CALLBACK_DELIVERED = "callback.delivered", "the backend has acknowledged a verdict"
    CALLBACK_CONFLICT = (
        "callback.conflict",
        "answered 409; `contrary` tells whether it holds the contrary verdict: an alarm",
    )
    CALLBACK_REFUSED = "callback.refused", "the backend refuses our signature (401, 403): an alarm"
    CALLBACK_FAILED = "callback.failed", "a callback did not get through and will be repeated"
    STORE_UNCHECKED = "store.unchecked", "the ledger's store could not be checked at the start; a worker asks again"
    INDEX_LATE = "index.late", "an accepted task could not be entered in the lists; a wake does so later"
    STATE_UNKNOWN = "state.unknown", "no answer about the state of a step: results are shown all the same"
    CLEANUP_LATE = (
        "cleanup.late",
        "a run is called back, but a job, its staging or results that were withdrawn are looked at once more",
    )

    STORE_REFUSED = (
        "store.refused",
        "COS refuses this machine, or one call of it; what it refuses waits: an alarm",
    )
    VENDOR_MISSING = "vendor.missing", "a kind's vendor is not configured on this machine; its work waits: an alarm"

    SWEEP_DONE = "sweep.done", "one sweep has paged through the backend's unfinished tasks"
    SWEEP_ROW_ODD = "sweep.row_odd", "a row of the backend's list that no verdict may come of; `why` tells: an alarm"
    SWEEP_BLIND = "sweep.blind", "the backlogs could not be read: no run is taken for one that waits its turn"
    UNFINISHED_UNREADABLE = (
        "unfinished.unreadable",
        "rows of the backend's list that cannot be read: nobody looks after those tasks: an alarm",
    )
    SWEEP_ROW_FAILED = "sweep.row_failed", "one unfinished task could not be looked at; the next sweep tries again"
    WAKE_PUBLISHED = "wake.published", "a run was asked to be looked at"
    DEAD_LETTER_RECORDED = "dead_letter.recorded", "a dead letter was recorded in the ledger bucket"

    TOPIC_PAUSED = "topic.paused", "an outage or a full vendor lets a topic rest"
    TOPIC_RESUMED = "topic.resumed", "a topic is consumed again"
    WORKER_STARTED = "worker.started", "a process consumes"
    WORKER_DRAINING = "worker.draining", "it takes no more and finishes what it has begun"
    WORKER_STOPPED = "worker.stopped", "it has let go of everything"
    DRAIN_DONE = "drain.done", "one call of the drain is over"
    PUSH_DONE = "push.done", "one call of the push is over"
    PUSH_UNREADABLE = "push.unreadable", "a record of an event that is no message of a queue: a dead letter"
    PUSH_HELD_BACK = "push.held_back", "no room in this call for one more; published anew"
    PUSH_UNSETTLED = "push.unsettled", "a record could be neither done nor published anew; the platform calls again"

    HEALTH_UNTOLD = (
        "health.untold",
        "HEALTH_FILE cannot be touched; the pump works on, and its probe will not believe it",
    )
    STATUS_UNWRITTEN = (
        "status.unwritten",
        "a process could not write its state to the ledger's bucket; it works on",
    )
    BACKLOG_UNKNOWN = "backlog.unknown", "the broker did not say what waits on a topic; asked again at the next turn"
    TELEMETRY_OFF = "telemetry.off", "spans and metrics are asked for and cannot be sent from here; the work goes on"
    TELEMETRY_LOST = "telemetry.lost", "spans that could not be sent in time are given up; the work goes on"

    CALL_FAILED = "call.failed", "a call of a function raised; the platform is told the text without its causes"
    PROCESS_CRASHED = "process.crashed", "an exception nobody caught ends the process or a thread"
    LIBRARY_LOG = "library.log", "a line of a library, in the field `message`"
