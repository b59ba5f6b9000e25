"""Messages and their bytes: a small stable header and a body that is decoded in a second step, by stage.

A message is the JSON array `[header, body]`, header and body being arrays themselves: text, because EventBridge carries
only text and operators read it in the cloud console. A stage or schema this build does not know raises
`InvalidMessage`, and so does everything else that is no message: nothing but a valid message or that one error ever
comes out of `decode`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Final

import msgspec

from messages.bodies import BODIES, Body, Stage
from messages.errors import InvalidMessage, MessageTooLarge
from messages.keys import ID_PATTERN, RunId

__all__ = [
    "MAX_COUNT",
    "MAX_MESSAGE_BYTES",
    "NOBODY",
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
"""Largest message a broker takes. Ours stay under 300 bytes; what is larger carries something that must not travel."""

SCHEMA: Final = 1
"""Raised only when fields change their meaning; appended fields need no new schema."""

NOBODY: Final = "-"
"""User and task of a dead letter whose original could not be read."""

Id = Annotated[str, msgspec.Meta(pattern=rf"^{ID_PATTERN}\Z")]
MAX_COUNT: Final = 1_000_000
"""Largest step, run, seq or attempt that a message carries."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]
Millis = Annotated[int, msgspec.Meta(ge=0, le=1 << 52)]


class Priority(IntEnum):
    """How soon a task is taken, among those that wait."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


class Header(msgspec.Struct, frozen=True, array_like=True):
    """What every message carries. Times are milliseconds; fields are only appended, with defaults."""

    version: int
    stage: str
    user: Id
    task: Id
    step: Count
    run: Annotated[int, msgspec.Meta(ge=-1, le=MAX_COUNT)]
    """-1 in a wake means the highest run that was accepted."""
    seq: Count
    """Counts the messages of a stage: 0 for the first, +1 for each copy."""
    attempt: Count
    """+1 only after an error of the task or a crash, never for waiting."""
    created: Millis
    """Since the epoch."""
    not_before: Millis = 0
    """After `created`."""
    deadline: Millis = 0
    """After `created`; 0 for none."""
    priority: Priority = Priority.NORMAL
    kind: Annotated[str, msgspec.Meta(max_length=64)] = ""
    traceparent: Annotated[str, msgspec.Meta(max_length=128)] = ""
    """W3C trace context."""
    isolated: bool = False
    """A copy made because its process died: it runs isolated, so that the next crash is its own."""

    @property
    def run_id(self) -> RunId:
        """The run it belongs to."""
        return RunId(self.user, self.task, self.step, self.run)

    @property
    def due_at(self) -> float:
        """Seconds since the epoch before which it must not be worked on."""
        return (self.created + self.not_before) / 1000

    @property
    def deadline_at(self) -> float | None:
        """Seconds since the epoch at which the run is out of time; None for none."""
        return (self.created + self.deadline) / 1000 if self.deadline else None


class Message(msgspec.Struct, frozen=True):
    """A header with its decoded body."""

    header: Header
    body: Body


def new_header(run: RunId, stage: Stage, now: float, traceparent: str = "") -> Header:
    """The header of a message that follows no other: first of its stage, due at once, without a deadline.

    Args:
        run: what it is about.
        stage: of the message.
        now: seconds since the epoch, by the store's clock.
        traceparent: W3C trace context to go on from.
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
    header: Header
    body: msgspec.Raw


_ENCODER: Final = msgspec.json.Encoder()
_WIRE: Final = msgspec.json.Decoder(_Wire)
_BODIES: Final = {stage: msgspec.json.Decoder(body) for stage, body in BODIES.items()}


def encode(message: Message) -> bytes:
    """The message as bytes.

    Raises:
        MessageTooLarge: over `MAX_MESSAGE_BYTES`.
    """
    data = _ENCODER.encode((message.header, message.body))
    if len(data) > MAX_MESSAGE_BYTES:
        raise MessageTooLarge(
            f"a {message.header.stage} message has {len(data)} bytes, the limit is {MAX_MESSAGE_BYTES}"
        )
    return data


def decode(data: bytes) -> Message:
    """The message in the bytes.

    Raises:
        InvalidMessage: they hold none that this build can read.
    """
    try:
        wire = _WIRE.decode(data)
        decoder = _BODIES.get(wire.header.stage)
        if wire.header.version != SCHEMA or decoder is None:
            raise InvalidMessage(f"schema {wire.header.version}, stage {wire.header.stage[:32]!r} is not known here")
        return Message(wire.header, decoder.decode(wire.body))
    except (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError) as error:
        # msgspec lets the last three through on hostile bytes.
        raise InvalidMessage(f"not a message: {type(error).__name__}") from error


def try_decode(data: bytes) -> Message | InvalidMessage:
    """The message in the bytes, or why they hold none that this build can read."""
    try:
        return decode(data)
    except InvalidMessage as error:
        return error
