"""Messages: their size, and the time to encode and decode one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from bench.environment import KEYS
from bench.figures import Figure
from messages.bodies import Generate, Stage
from messages.codec import SCHEMA, Header, Message, decode, encode

__all__ = ["measure"]

_REPEATS = 5
_TIMES = 20_000

_MESSAGE = Message(
    Header(
        version=SCHEMA,
        stage=Stage.GENERATE,
        user="u-1024",
        task="1987654321012345",
        step=0,
        run=0,
        seq=0,
        attempt=0,
        created=1_795_345_142_000,
        deadline=1_800_000,
        kind="model_pose12",
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ),
    Generate(),
)


def _microseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    for _ in range(_TIMES):
        work()
    return (time.perf_counter() - started) / _TIMES * 1e6


def measure() -> Iterator[Figure]:
    """Measure size and speed of a `generate` message, signed as it travels and without its signature."""
    data = encode(_MESSAGE, KEYS)
    yield Figure.of("bytes_generate_message", [len(data)], "bytes")
    yield Figure.of("encode", [_microseconds(lambda: encode(_MESSAGE, KEYS)) for _ in range(_REPEATS)], "us")
    yield Figure.of("decode", [_microseconds(lambda: decode(data, KEYS)) for _ in range(_REPEATS)], "us")
    yield Figure.of("encode_unsigned", [_microseconds(lambda: encode(_MESSAGE)) for _ in range(_REPEATS)], "us")
    yield Figure.of("decode_unchecked", [_microseconds(lambda: decode(data)) for _ in range(_REPEATS)], "us")
