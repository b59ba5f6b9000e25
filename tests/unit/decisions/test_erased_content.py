"""Content of records: each field is listed as content or as none."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.erasing.content import CONTENT, emptied
from tasks.ledger.records import RECORDS, Accepted, DeadLetter, Delivered, Verdict
from tests.corpus.values_v1 import RECORDS as VALUES
from tests.corpus.values_v1 import encode_record

HARMLESS: Final[dict[type, set[str]]] = {
    Accepted: {"kind", "created", "deadline", "priority", "traceparent", "ticket_expires", "vendor", "slots", "enough"}
    | {"last_call"},
    DeadLetter: {"reason", "topic", "stage", "code", "error", "fingerprint", "original", "encoding", "message_id"}
    | {"user", "task", "step", "run", "attempt", "traceparent", "at", "n", "verdict", "place"},
    Delivered: {"http_status", "conflict", "contrary"},
    Verdict: {"status", "code", "job", "degraded"},
}
"""Fields of these classes that are no content: ids, times, codes, counts."""

WITHOUT: Final = {
    "Begun",
    "CallEnd",
    "Erased",
    "Intent",
    "JobId",
    "ReopenDenied",
    "Reopened",
    "Reopening",
    "SlotEnd",
    "Waits",
    "Withdrawn",
}
"""Classes without content: marks, ids of jobs, ends, and why a run waits."""

OTHERS: Final = {
    "CallResult": {"usage"},
    "Prompted": {"source", "usage"},
    "Staged": {"degraded", "job"},
    "Stopped": {"reason", "code", "error", "place", "attempts", "n", "slot"},
}


@pytest.mark.parametrize("kind", [*RECORDS, DeadLetter])
def test_every_field_was_looked_at(kind: Any) -> None:
    """A new field fails here until the lists say what an erasure does with it."""
    fields = {field.name for field in msgspec.structs.fields(kind)}
    content = set(CONTENT.get(kind, ()))
    assert (not content) == (kind.__name__ in WITHOUT)
    if content:
        assert fields - content == HARMLESS.get(kind, OTHERS.get(kind.__name__, set()))


@pytest.mark.parametrize("name", [name for name, value in VALUES.items() if type(value) in CONTENT])
def test_an_emptied_record_is_read_and_keeps_its_writer_and_all_else(name: str) -> None:
    record: Any = VALUES[name]
    kind = type(record)
    body = emptied(encode_record(record), kind)
    document = msgspec.json.decode(body)
    assert document["nonce"] == "0123456789abcdef"
    read = msgspec.convert(document["record"], kind)
    for field in msgspec.structs.fields(kind):
        value = getattr(read, field.name)
        if field.name in CONTENT[kind]:
            assert not value
        else:
            assert value == getattr(record, field.name)
    assert emptied(body, kind) == body, "twice is harmless"


@given(st.binary() | st.builds(msgspec.json.encode, st.dictionaries(st.text(), st.text() | st.lists(st.text()))))
def test_of_what_no_build_can_read_nothing_is_left(body: bytes) -> None:
    document = msgspec.json.decode(emptied(body, None))
    assert set(document) == {"nonce", "record"}
    assert document["record"] == {}


def test_a_field_of_a_newer_build_is_dropped() -> None:
    body = b'{"nonce":"n","record":{"status":"success","new_text":"hers","text":"hers"}}'
    assert emptied(body, Verdict) == b'{"nonce":"n","record":{"status":"success","text":""}}'
