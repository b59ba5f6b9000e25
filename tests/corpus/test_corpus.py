"""Bytes that a release has written: every build reads all of them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from messages.bodies import Reason, Stage
from messages.codec import decode
from messages.keys import RunId, record_key
from services.objects.memory import MemoryObjects
from tasks.ledger.ledger import Ledger
from tasks.ledger.names import RecordName
from tasks.ledger.operators import Erasure, Purged, Replayed
from tasks.ledger.records import RECORDS as EVERY_RECORD
from tasks.ledger.records import DeadLetter
from tests.corpus.values_v1 import (
    KEYS,
    MESSAGES,
    MESSAGES_FILE,
    RECORDS,
    RECORDS_FILE,
    RETIRED,
    SUPERSEDED,
    encode_message,
    encode_record,
)


class Line(msgspec.Struct):
    name: str
    bytes: str


def lines(file: Path) -> dict[str, bytes]:
    rows = [msgspec.json.decode(line, type=Line) for line in file.read_bytes().splitlines()]
    assert len({row.name for row in rows}) == len(rows)
    return {row.name: row.bytes.encode() for row in rows}


WRITTEN_MESSAGES = lines(MESSAGES_FILE)
WRITTEN_RECORDS = lines(RECORDS_FILE)


def test_every_line_of_the_corpus_is_checked() -> None:
    assert set(WRITTEN_MESSAGES) == set(MESSAGES)
    assert set(WRITTEN_RECORDS) == {*RECORDS, *RETIRED}


def test_the_corpus_has_every_stage_every_reason_and_every_record() -> None:
    assert {message.header.stage for message in MESSAGES.values()} == set(Stage)
    assert {
        reason for message in MESSAGES.values() for reason in [getattr(message.body, "reason", None)] if reason
    } == set(Reason)
    assert {type(record) for record in RECORDS.values()} == {*EVERY_RECORD, DeadLetter, Erasure, Purged, Replayed}


@pytest.mark.parametrize("name", [*MESSAGES])
def test_a_message_of_old_is_read(name: str) -> None:
    assert decode(WRITTEN_MESSAGES[name], KEYS) == MESSAGES[name]


@pytest.mark.parametrize("name", [*RECORDS])
async def test_a_record_of_old_is_read(name: str) -> None:
    objects = MemoryObjects(bucket="ledger-1250000000", clock=lambda: 1_763_888_400.0)
    ledger = Ledger(objects, clock=lambda: 1_763_888_400.0, nonce=lambda: "mine")
    run = RunId("user_42", "t1")
    stored = WRITTEN_RECORDS[name]
    await objects.put_new(record_key(run, "it"), stored)
    found = await ledger.read(run, RecordName("it", type(RECORDS[name])))
    assert found is not None
    assert found.record == RECORDS[name]
    assert not found.mine


MORE = "this build writes other bytes than the newest corpus has: keep its files as they are, and add the next ones"


@pytest.mark.parametrize("name", [name for name in MESSAGES if name not in SUPERSEDED])
def test_the_newest_corpus_is_what_this_build_writes_of_messages(name: str) -> None:
    assert encode_message(name) == WRITTEN_MESSAGES[name], MORE


@pytest.mark.parametrize("name", [name for name in RECORDS if name not in SUPERSEDED])
def test_the_newest_corpus_is_what_this_build_writes_of_records(name: str) -> None:
    assert encode_record(RECORDS[name]) == WRITTEN_RECORDS[name], MORE
