"""EventBridge's envelope around a message of TDMQ for Pulsar. Pure.

Source: EventBridge, "TDMQ connector" and "SCF target": one CloudEvent of type `connector:tdmq`, or, where batches are
on, `{"EventList": [...]}`. Older events differ in spelling and types, so only what is needed is read, and leniently.
The envelope has no property, key or redelivery count: the message holds everything needed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from messages.bodies import Stage
from messages.codec import Message, try_decode
from messages.errors import InvalidMessage
from messages.signing import MessageKeys
from messages.topics import subscription_of, topic_of
from recipes.table import RECIPES
from tasks.topics import topic_for
from transport.port import Delivery

__all__ = ["Record", "records_in"]

_ID: Final = re.compile(r"[!-~]{1,256}")
_PARTITION: Final = re.compile(r"-partition-\d+\Z")

_HOMELESS: Final = topic_of(Stage.WAKE)
"""Topic of a record that names no known topic: its dead letter needs one."""


class Record(msgspec.Struct, frozen=True):
    """A record of an event."""

    delivery: Delivery
    message: Message | InvalidMessage
    """The decoded payload, or the decoding error."""
    readable: bool
    """True for the envelope of a message; else the payload is the record itself, as JSON."""


def records_in(event: object, keys: MessageKeys | None = None) -> tuple[Record, ...]:
    """Return every record of an event; a record that is not an envelope is unreadable, and never left out."""
    if isinstance(event, Mapping) and isinstance(listed := event.get("EventList"), list):
        return tuple(_record(entry, keys) for entry in listed)
    return (_record(event, keys),)


def _record(entry: object, keys: MessageKeys | None) -> Record:
    data = entry.get("data") if isinstance(entry, Mapping) else None
    payload = _payload(data.get("msgBody")) if isinstance(data, Mapping) else None
    if not isinstance(entry, Mapping) or not isinstance(data, Mapping) or payload is None:
        raw = _raw(entry)
        return Record(Delivery(_digest(raw), _HOMELESS, raw), try_decode(raw, keys), readable=False)
    message_id = _identity(data.get("msgId")) or _identity(entry.get("id")) or _digest(payload)
    message = try_decode(payload, keys)
    return Record(Delivery(message_id, _topic(data.get("topic"), message), payload), message, readable=True)


def _payload(body: Any) -> bytes | None:  # noqa: ANN401 - any JSON of the bridge
    """Return the message's bytes: from text, base64 (the bridge's encoding is not documented), or parsed JSON."""
    if isinstance(body, str) and body:
        plain = body.encode("utf-8", "surrogatepass")
        # A message of ours begins with a bracket, which no base64 does.
        unpacked = _unpack(plain)
        return unpacked if unpacked is not None and unpacked.startswith(b"[") else plain
    return _raw(body) if isinstance(body, list | dict) and body else None


def _raw(value: object) -> bytes:
    """Return a record as JSON for its dead letter, as far as JSON can express it."""
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        # Half a surrogate pair, an integer of more than 64 bits, or nesting without a bound.
        pass
    try:
        return json.dumps(value, separators=(",", ":"), default=str).encode()
    except (TypeError, ValueError, RecursionError):
        return f"a {type(value).__name__} that JSON cannot say".encode()


def _identity(value: object) -> str:
    """Return a message id as it came, if it is plausible; else empty."""
    text = str(value) if isinstance(value, str | int) else ""
    return text if _ID.fullmatch(text) else ""


def _unpack(text: bytes) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _topic(named: object, message: Message | InvalidMessage) -> str:
    """Return the last part of the topic's name; for an unknown topic, the topic of the message's stage."""
    last = _PARTITION.sub("", named.rpartition("/")[2]) if isinstance(named, str) else ""
    if subscription_of(last):
        return last
    if isinstance(message, InvalidMessage) or message.header.stage == Stage.DEAD:
        return _HOMELESS
    header = message.header
    return topic_for(Stage(header.stage), header, RECIPES, default=_HOMELESS)


def _digest(raw: bytes) -> str:
    return f"sha256-{hashlib.sha256(raw).hexdigest()[:32]}"
