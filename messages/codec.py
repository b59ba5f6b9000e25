"""Encoding and decoding of messages: a small stable header, and a body that is decoded in a second step, by stage.

A message is the JSON array `[header, body, signature]`, and header and body are arrays too. JSON text was chosen
because EventBridge carries only text and operators can read it in the cloud console. `decode` returns a valid message
or raises `InvalidMessage`, also for a stage, schema or key that this build does not know; it raises nothing else.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Final

import msgspec

from messages.bodies import BODIES, Body, Stage
from messages.compact import pack_traceparent, unpack_traceparent
from messages.errors import InvalidMessage, MessageTooLarge, NewerMessage
from messages.keys import ID_PATTERN, RunId
from messages.signing import MessageKeys

__all__ = [
    "MAX_COUNT",
    "MAX_MESSAGE_BYTES",
    "NO_ID",
    "SCHEMA",
    "Count",
    "Header",
    "Id",
    "Message",
    "Millis",
    "Priority",
    "decode",
    "encode",
    "new_header",
    "try_decode",
]

MAX_MESSAGE_BYTES: Final = 8192
"""Largest message in bytes. Ours stay under 300 bytes; a larger one would carry data that must not travel."""

SCHEMA: Final = 1
"""Increased only if fields change their meaning; appended fields keep the schema."""

NO_ID: Final = "-"
"""User and task in a dead letter whose original could not be decoded."""

Id = Annotated[str, msgspec.Meta(pattern=rf"^{ID_PATTERN}\Z")]
MAX_COUNT: Final = 1_000_000
"""Largest step, run, seq or attempt of a message."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]
Millis = Annotated[int, msgspec.Meta(ge=0, le=1 << 52)]


class Priority(IntEnum):
    """Priority of a task among those that wait."""

    HIGH = 0
    NORMAL = 1
    LOW = 2

    @property
    def weight(self) -> int:
        """Of ten messages taken while all three priorities wait, so many are of this one."""
        return _WEIGHTS[self]


_WEIGHTS: Final = {Priority.HIGH: 6, Priority.NORMAL: 3, Priority.LOW: 1}


class Header(msgspec.Struct, frozen=True, array_like=True):
    """Header of every message. Times are in milliseconds; fields are only appended, with defaults."""

    version: int
    stage: str
    user: Id
    task: Id
    step: Count
    run: Annotated[int, msgspec.Meta(ge=-1, le=MAX_COUNT)]
    """-1 in a wake means the highest accepted run."""
    seq: Count
    """Number of the message in its stage: 0 for the first, +1 for each copy."""
    attempt: Count
    """Failed attempts so far: +1 only after an error of the task or a crash, never for waiting."""
    created: Millis
    """Milliseconds since the epoch."""
    not_before: Millis = 0
    """Milliseconds after `created` before which the message must not be handled."""
    deadline: Millis = 0
    """Milliseconds after `created`; 0 for none."""
    priority: Priority = Priority.NORMAL
    kind: Annotated[str, msgspec.Meta(max_length=64)] = ""
    traceparent: Annotated[str, msgspec.Meta(max_length=128)] = ""
    """W3C trace context."""
    isolated: bool = False
    """The copy was made after a crash, so it runs isolated: another crash affects no other message."""

    @property
    def run_id(self) -> RunId:
        """Run of the message."""
        return RunId(self.user, self.task, self.step, self.run)

    @property
    def due_at(self) -> float:
        """Seconds since the epoch before which the message must not be handled."""
        return (self.created + self.not_before) / 1000

    @property
    def deadline_at(self) -> float | None:
        """Deadline of the run in seconds since the epoch; None for none."""
        return (self.created + self.deadline) / 1000 if self.deadline else None


class Message(msgspec.Struct, frozen=True):
    """Header and decoded body."""

    header: Header
    body: Body


def new_header(run: RunId, stage: Stage, now: float, traceparent: str = "") -> Header:
    """Return the header of a message that follows no other: first of its stage, due at once, without a deadline.

    Args:
        run: run of the message.
        stage: stage of the message.
        now: seconds since the epoch, by the store's clock.
        traceparent: W3C trace context to continue.
    """
    return Header(
        version=SCHEMA,
        stage=stage.value,
        user=run.user,
        task=run.task,
        step=run.step,
        run=run.run,
        seq=0,
        attempt=0,
        created=int(now * 1000),
        traceparent=traceparent,
    )


class _Wire(msgspec.Struct, frozen=True, array_like=True):
    """Header and body as they travel: the signed bytes."""

    header: msgspec.Raw
    body: msgspec.Raw
    signature: str = ""


_ENCODER: Final = msgspec.json.Encoder()
_WIRE: Final = msgspec.json.Decoder(_Wire)
_HEADER: Final = msgspec.json.Decoder(Header)
_BODIES: Final = {stage: msgspec.json.Decoder(body) for stage, body in BODIES.items()}


def encode(message: Message, keys: MessageKeys | None = None) -> bytes:
    """Encode a message.

    Args:
        message: the message.
        keys: one of them signs it; None leaves it unsigned.

    Raises:
        MessageTooLarge: over `MAX_MESSAGE_BYTES`.
        messages.errors.NotSigned: none of the keys may sign its stage.
    """
    short = msgspec.structs.replace(message.header, traceparent=pack_traceparent(message.header.traceparent))
    header, body = _ENCODER.encode(short), _ENCODER.encode(message.body)
    signature = keys.sign(message.header.stage, header, body) if keys else ""
    data = b'[%b,%b,"%b"]' % (header, body, signature.encode()) if signature else b"[%b,%b]" % (header, body)
    if len(data) > MAX_MESSAGE_BYTES:
        raise MessageTooLarge(
            f"a {message.header.stage} message has {len(data)} bytes, the limit is {MAX_MESSAGE_BYTES}"
        )
    return data


def decode(data: bytes, keys: MessageKeys | None = None) -> Message:
    """Decode a message.

    Args:
        data: as it travelled.
        keys: that its signature is checked with; None reads it unchecked, which is for showing it and for tests.

    Raises:
        messages.errors.NewerMessage: the header can be read, but this build knows neither the stage, nor the schema,
            nor the key: another one may.
        messages.errors.BadSignature: it is signed wrongly, or not at all.
        InvalidMessage: the bytes are no message.
    """
    try:
        wire = _WIRE.decode(data)
        header = _HEADER.decode(wire.header)
        if keys is not None:
            created = header.created / 1000
            keys.check(wire.signature, header.stage, bytes(wire.header), bytes(wire.body), created)
        decoder = _BODIES.get(header.stage)
        if header.version != SCHEMA or decoder is None:
            raise NewerMessage(
                f"schema {header.version}, stage {header.stage[:32]!r} is not known here", created=header.created / 1000
            )
        whole = msgspec.structs.replace(header, traceparent=unpack_traceparent(header.traceparent))
        return Message(whole, decoder.decode(wire.body))
    except (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError) as error:
        # Hostile bytes make msgspec raise the last three too.
        raise InvalidMessage(f"not a message: {type(error).__name__}") from error


def try_decode(data: bytes, keys: MessageKeys | None = None) -> Message | InvalidMessage:
    """Decode a message; return the error instead of raising it."""
    try:
        return decode(data, keys)
    except InvalidMessage as error:
        return error
