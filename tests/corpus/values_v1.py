"""Values of the corpus of schema 1: a name, and the value that its bytes must decode to.

The files beside this one are data: what was released stays as it is. `python -m tests.corpus.values_v1` appends what is
missing and changes no line that is there. A later build that writes other bytes gets files (and values) of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from messages.bodies import Audit, Body, Clean, Collect, Dead, Generate, Job, Notify, Poll, Prompt, Reason, Stage, Wake
from messages.codec import NO_ID, Header, Message, Priority, encode
from messages.codes import Code
from messages.signing import MessageKey, MessageKeys
from services.vendors.usage import Usage
from tasks.ledger.names import RecordBase
from tasks.ledger.operators import Erasure, Purged, Replayed
from tasks.ledger.records import (
    Accepted,
    AuditJobs,
    Begun,
    CallEnd,
    CallResult,
    Cleaned,
    Collected,
    DeadLetter,
    Delivered,
    Erased,
    FetchedInputs,
    InputRef,
    Intent,
    JobId,
    ManifestItem,
    Product,
    Prompted,
    ReopenDenied,
    Reopened,
    Reopening,
    SlotEnd,
    Staged,
    StagedFile,
    StagedResult,
    Stopped,
    Verdict,
    VideoLabels,
    Waits,
    Withdrawn,
)

__all__ = [
    "KEYS",
    "MESSAGES",
    "MESSAGES_FILE",
    "RECORDS",
    "RECORDS_FILE",
    "RETIRED",
    "SIGNED",
    "SUPERSEDED",
    "encode_message",
    "encode_record",
]

MESSAGES_FILE = Path(__file__).with_name("messages_v1.jsonl")
RECORDS_FILE = Path(__file__).with_name("records_v1.jsonl")

_TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_CREATED = 1_763_888_400_123
_PNG_HEAD = "iVBORw0KGgo="


def _message(stage: Stage, body: Body, **changes: Any) -> Message:
    plain = Header(
        version=1,
        stage=stage.value,
        user="user_42",
        task="7f3c2a9e-5b1d-4c8e-9a6f-0d2b4e6f8a1c",
        step=0,
        run=0,
        seq=0,
        attempt=0,
        created=_CREATED,
        deadline=1_800_000,
        kind="model_pose12",
        traceparent=_TRACE,
    )
    return Message(msgspec.structs.replace(plain, **changes), body)


def _dead(**changes: Any) -> Dead:
    plain = Dead(
        reason=Reason.ATTEMPTS,
        topic="generate-normal",
        message_id="12:7:0",
        stage="generate",
        code="busy",
        error="FetchFailed",
        fingerprint="0123456789ab",
        original="[[1],[]]",
    )
    return msgspec.structs.replace(plain, **changes)


_UNSIGNED: Mapping[str, Message] = {
    "clean": _message(Stage.CLEAN, Clean()),
    "clean, high priority, later step of a later run": _message(
        Stage.CLEAN, Clean(), step=3, run=2, seq=7, attempt=4, priority=Priority.HIGH, kind="basic_clean"
    ),
    "clean, low priority": _message(Stage.CLEAN, Clean(), priority=Priority.LOW),
    "generate": _message(Stage.GENERATE, Generate()),
    "generate, a copy after a crash, alone": _message(
        Stage.GENERATE, Generate(), seq=1, attempt=1, not_before=90_000, isolated=True
    ),
    "poll": _message(Stage.POLL, Poll((Job(1, "1910246754753896450"),), _CREATED), not_before=72_000),
    "poll, two jobs": _message(Stage.POLL, Poll((Job(1, "1910"), Job(2, "1911")), _CREATED), seq=9),
    "poll, no job known": _message(Stage.POLL, Poll((), 0)),
    "collect": _message(Stage.COLLECT, Collect(Job(2, "1910246754753896450"))),
    "wake, by a sweep": _message(
        Stage.WAKE, Wake("sweep", None, _CREATED - 600_000), run=-1, deadline=0, kind="", traceparent=""
    ),
    "wake, by a webhook": _message(Stage.WAKE, Wake("webhook", Job(1, "1910")), deadline=0),
    "wake, by a cancel": _message(Stage.WAKE, Wake("cancel"), deadline=0),
    "generate, second slot": _message(Stage.GENERATE, Generate(2)),
    "poll, second slot": _message(Stage.POLL, Poll((Job(1, "1910", 2),), _CREATED, slot=2)),
    "collect, second slot": _message(Stage.COLLECT, Collect(Job(1, "1910", 2))),
    "collect, results missing": _message(Stage.COLLECT, Collect(Job(1, "1910", 2), _CREATED), seq=1),
    "collect, results missing, with a key's label": _message(
        Stage.COLLECT, Collect(Job(1, "1910", 2, label="main"), _CREATED), seq=1
    ),
    "wake, by a webhook for the second slot": _message(Stage.WAKE, Wake("webhook", Job(1, "1910", 2)), deadline=0),
    "poll, with a key's label": _message(Stage.POLL, Poll((Job(1, "1910", 1, "main"),), _CREATED)),
    "collect, with a key's label": _message(Stage.COLLECT, Collect(Job(1, "1910", 1, "main"))),
    "poll, with a key's label and its vendor": _message(
        Stage.POLL, Poll((Job(1, "1910", 1, "main", "runninghub"),), _CREATED)
    ),
    "collect, with a key's label and its vendor": _message(
        Stage.COLLECT, Collect(Job(1, "1910", 1, "main", "runninghub"), _CREATED)
    ),
    "wake, by a webhook that knows no vendor": _message(Stage.WAKE, Wake("webhook", Job(1, "1912")), deadline=0),
    "wake, by a webhook that knows no label": _message(Stage.WAKE, Wake("webhook", Job(1, "1911")), deadline=0),
    "prompt": _message(Stage.PROMPT, Prompt()),
    "audit": _message(Stage.AUDIT, Audit(), seq=8),
    "poll, results missing": _message(Stage.POLL, Poll((Job(1, "1910"),), _CREATED, short_since=_CREATED), seq=8),
    "collect, of the run": _message(Stage.COLLECT, Collect()),
    "notify": _message(Stage.NOTIFY, Notify(_CREATED), seq=11, deadline=0, not_before=600_000),
    "notify, again": _message(Stage.NOTIFY, Notify(_CREATED, again=True), seq=11, deadline=0, not_before=600_000),
    "dead": _message(Stage.DEAD, _dead(), deadline=0, attempt=5),
    "dead, with detail and place": _message(
        Stage.DEAD, _dead(detail="503 from 文字", place="services.fetch.open"), deadline=0, attempt=5
    ),
    "dead, with the number of its record": _message(
        Stage.DEAD,
        _dead(detail="503", place="services.fetch.open", seq=3, slot=1),
        deadline=0,
        attempt=5,
    ),
    "dead, by the vendor": _message(
        Stage.DEAD, _dead(reason=Reason.VENDOR, stage="poll", topic="poll", code="vendor_failed", n=1), deadline=0
    ),
    "dead, outcome unknown": _message(
        Stage.DEAD, _dead(reason=Reason.UNKNOWN, code="vendor_unknown", error="CreateUnknown", n=2), deadline=0
    ),
    "dead, permanent, 文字": _message(
        Stage.DEAD, _dead(reason=Reason.PERMANENT, original='[[1,"clean"],["文字 \\" \\u0001"]]'), deadline=0
    ),
    "dead, unreadable": _message(
        Stage.DEAD,
        _dead(reason=Reason.UNREADABLE, stage="", code="unreadable", original=_PNG_HEAD, encoding="base64"),
        user=NO_ID,
        task=NO_ID,
        deadline=0,
        kind="",
        traceparent="",
    ),
    "dead, unreadable and cut": _message(
        Stage.DEAD,
        _dead(reason=Reason.UNREADABLE, stage="", code="unreadable", original=_PNG_HEAD, encoding="cut"),
        user=NO_ID,
        task=NO_ID,
        deadline=0,
    ),
}
"""Every stage, and what differs notably within one; written before messages were signed."""

_NEWEST: Final = (
    "clean",
    "prompt",
    "generate",
    "poll, with a key's label and its vendor",
    "poll, results missing",
    "collect, with a key's label and its vendor",
    "collect, of the run",
    "audit",
    "wake, by a cancel",
    "notify, again",
    "dead, with the number of its record",
)

SIGNED: Final[Mapping[str, Message]] = {f"{name}, signed": _UNSIGNED[name] for name in _NEWEST}
"""One of each stage with a signature, and its trace context in the short form."""

MESSAGES: Final[Mapping[str, Message]] = {**_UNSIGNED, **SIGNED}

KEYS: Final = MessageKeys([MessageKey("k1", b"the key of the corpus, of 32 bytes")])
"""Keys of the signed messages."""


_ITEM = ManifestItem(
    source="staging/user_42/t1/0-0/0123456789abcdef/frame_01.jpg",
    target="output/user_42/t1/frame_01.jpg",
    etag="d41d8cd98f00b204e9800998ecf8427e",
    size=123_456,
)

RECORDS: Mapping[str, RecordBase | DeadLetter | Replayed | Purged] = {
    "accepted": Accepted(
        kind="model_pose12",
        params={"prompt": "穿风衣的模特"},
        inputs=(InputRef("input/user_42/t1/original.jpg", "d41d8cd98f00b204e9800998ecf8427e", 68_052),),
        created=1_763_888_400.25,
        deadline=1_763_890_200.25,
        priority=Priority.HIGH,
        traceparent=_TRACE,
        ticket_expires=1_763_892_000,
    ),
    "accepted, with its vendor": Accepted(
        kind="model_pose12",
        params={},
        inputs=(InputRef("input/user_42/t1/original.jpg", "d41d8cd98f00b204e9800998ecf8427e", 68_052),),
        created=1_763_888_400.25,
        deadline=1_763_890_200.25,
        vendor="runninghub",
    ),
    "accepted, many inputs, no ticket": Accepted(
        kind="basic_clean",
        params={"format": "webp", "quality": 80, "max_side": 2048, "background": "goods"},
        inputs=(InputRef("input/u/t/a.png", "aa", 1), InputRef("input/u/t/b.webp", "bb", 2)),
        created=1.0,
        deadline=601.0,
    ),
    "accepted, with a URL": Accepted(
        kind="basic_clean",
        params={},
        inputs=(InputRef("", "", 0, "https://pictures.example/photo.jpg"),),
        created=1_763_888_400.25,
        deadline=1_763_889_000.25,
    ),
    "fetched": FetchedInputs((InputRef("source/user_42/t1/n/input_01.jpg", "aa", 4096),)),
    "cleaned": Cleaned((Product("staging/user_42/t1/0-0/n/input_01.jpg", "aa", 4096, "jpg"),)),
    "begun": Begun("12:7:0", 2, 180.0),
    "vendor": Intent("runninghub", 120.0),
    "vendor, with a key's label": Intent("runninghub", 120.0, "main"),
    "vendor-id": JobId("1910246754753896450"),
    "vendor-end, failed": CallEnd("failed", Code.INCOMPLETE_RESULTS),
    "call-end, failed, with usage": CallEnd("failed", Code.VENDOR_FAILED, Usage(coins=12.0, seconds=83.0)),
    "verdict, success": Verdict("success", "", (_ITEM,), "1910246754753896450"),
    "verdict, failed": Verdict("failed", "timeout"),
    "verdict, failed by a code of another build": Verdict("failed", "not_known_here"),
    "verdict, cancelled": Verdict("cancelled", "cancelled"),
    "delivered": Delivered(200),
    "delivered, conflict": Delivered(409, conflict=True),
    "delivered, not contrary": Delivered(200),
    "delivered, contrary": Delivered(409, conflict=True, contrary=True),
    "reopening, asked": Reopening(),
    "reopening, not asked": Reopening(asked=False),
    "reopened": Reopened(),
    "replayed": Replayed("new_run", 1, "amara", "the vendor is mended", 1_763_888_500.5),
    "purged": Purged("amara", "a test", 1_763_888_500.5, "user_42", "t1", 0, 0),
    "withdrawn": Withdrawn(),
    "erased": Erased(),
    "erasure": Erasure("amara", "their request", 1_763_888_500.5, 31, 4_096_000, 12, 3),
    "refused": ReopenDenied(),
    "call-end, not accepted": CallEnd("not_accepted", Code.BUSY),
    "call-result": CallResult(("https://vendor.example/1.png",)),
    "call-result, with usage": CallResult(("https://vendor.example/1.png",), Usage(pictures=1, tokens_out=16_280)),
    "slot, good, with usage": SlotEnd(good=True, n=1, usage=Usage(coins=12.0, seconds=83.0)),
    "slot, bad, by a code": SlotEnd(good=False, n=2, code="vendor_unknown"),
    "staged, before its audit": Staged(
        (StagedResult("staging/user_42/t1/0-0/n/frame_01.jpg", "aa", 4096, 2, "jpg"),), ("prompt_template",), "1910"
    ),
    "prompted, with usage": Prompted("穿风衣的模特", "model", Usage(tokens_in=900, tokens_out=120)),
    "accepted, four slots": Accepted(
        kind="photography",
        params={"scene": "street", "count": 4},
        inputs=(InputRef("input/user_42/t1/a.jpg", "aa", 1),),
        created=1_763_888_400.25,
        deadline=1_763_890_200.25,
        vendor="ark",
        slots=4,
        enough=2,
        last_call=1_763_890_000.25,
    ),
    "verdict, success with less": Verdict("success", "", (_ITEM,), "1910", ("fewer_results",)),
    "verdict, success with a text": Verdict("success", text="穿风衣的模特"),
    "verdict, failed, of this build": Verdict("failed", "timeout"),
    "collected": Collected((StagedFile("staging/user_42/t1/0-0/n/raw_01", "aa", 4096, "0123456789abcdef"),)),
    "collected, with a still": Collected(
        (
            StagedFile(
                "staging/u/t1/0-0/n/video_01.mp4",
                "aa",
                4096,
                "0123",
                Product("staging/u/t1/0-0/n/s.jpg", "bb", 9, "jpg"),
            ),
        )
    ),
    "staged, with a still": Staged(
        (
            StagedResult("staging/user_42/t1/0-0/n/video_01.mp4", "aa", 4096, 1, "mp4"),
            StagedResult("staging/user_42/t1/0-0/n/video_01_still.jpg", "bb", 409, 1, "jpg", still=True),
        )
    ),
    "audits": AuditJobs({"staging/user_42/t1/0-0/n/video_01.mp4": "av0123"}),
    "audits, of inputs": AuditJobs(
        {"staging/user_42/t1/0-0/n/input_01.mp4": "av0123"},
        (Product("staging/user_42/t1/0-0/n/input_01.mp4", "aa", 4096, "mp4"),),
    ),
    "labels of videos": VideoLabels({"staging/user_42/t1/0-0/n/video_01.mp4": "j0123"}),
    "labels of videos, done": VideoLabels(
        {},
        {
            "staging/user_42/t1/0-0/n/video_01.mp4": Product(
                "staging/user_42/t1/0-0/n/video_01_labelled_n.mp4", "cc", 4196, "mp4"
            )
        },
    ),
    "waits": Waits("busy", 1_763_888_460.5, 1_763_888_400.5),
    "stopped": Stopped("attempts", "busy", "FetchFailed", "services.fetch.open", "503", 5),
    "stopped, for a slot": Stopped("vendor", "vendor_failed", "VendorFailed", "", "", 1, 2, 3),
    "stopped, for a paid call": Stopped("vendor", "vendor_failed", "VendorFailed", "", "", 1, 2),
    "delivered, with what was said": Delivered(200, sent='{"status":"success"}', answered="{}"),
    "dead letter": DeadLetter(
        reason="vendor",
        topic="poll",
        stage="poll",
        code="vendor_failed",
        error="VendorFailed",
        fingerprint="0123456789ab",
        original='[[1,"poll"],[]]',
        encoding="text",
        message_id="12:7:0",
        user="user_42",
        task="t1",
        step=0,
        run=1,
        attempt=3,
        traceparent=_TRACE,
        at=1_763_888_400.5,
        n=1,
        verdict="failed",
    ),
    "dead letter, with detail and place": DeadLetter(
        reason="attempts",
        topic="poll",
        stage="poll",
        code="internal",
        error="KeyError",
        fingerprint="0123456789ab",
        original='[[1,"poll"],[]]',
        encoding="text",
        message_id="12:7:0",
        user="user_42",
        task="t1",
        step=0,
        run=1,
        attempt=4,
        traceparent=_TRACE,
        at=1_763_888_400.5,
        detail="'mp4'",
        place="consumers.stages.collect._item",
    ),
}
"""Every record, and what differs notably within one."""


SUPERSEDED: Final = (
    *_UNSIGNED,
    "vendor-end, failed",
    "call-end, not accepted",
    "poll, with a key's label and its vendor, signed",
    "accepted, with its vendor",
    "verdict, success",
    "verdict, failed",
    "verdict, failed by a code of another build",
    "verdict, cancelled",
    "call-result",
    "stopped, for a paid call",
    "delivered",
    "delivered, conflict",
    "delivered, not contrary",
    "delivered, contrary",
    "accepted",
    "accepted, many inputs, no ticket",
    "accepted, four slots",
    "vendor",
    "dead letter",
    "stopped",
    "staged, before its audit",
    "collected",
)
"""Messages and records that are read as ever, and written otherwise: with a field more, or signed."""

RETIRED: Final = (
    "vendor-end, refused",
    "vendor-given-up",
    "slot, good",
    "slot, bad",
    "prompted",
    "staged",
    "reopening",
)
"""Records of which no build reads the name any more; their lines stay."""


def encode_message(name: str) -> bytes:
    """A message as this build writes it."""
    return encode(MESSAGES[name], KEYS if name in SIGNED else None)


def encode_record(record: RecordBase | DeadLetter | Replayed | Purged | Erasure) -> bytes:
    """A record as the ledger stores it, under a nonce that is always the same."""
    return msgspec.json.encode({"nonce": "0123456789abcdef", "record": record})


def _append_missing(file: Path, known: Mapping[str, bytes]) -> None:
    there = [msgspec.json.decode(line)["name"] for line in file.read_bytes().splitlines()] if file.exists() else []
    with file.open("ab") as out:
        for name in [name for name in known if name not in there]:
            out.write(msgspec.json.encode({"name": name, "bytes": known[name].decode()}) + b"\n")
            sys.stdout.write(f"{file.name}: {name}\n")


if __name__ == "__main__":
    _append_missing(MESSAGES_FILE, {name: encode_message(name) for name in MESSAGES})
    _append_missing(RECORDS_FILE, {name: encode_record(record) for name, record in RECORDS.items()})
