"""Connection probe: checks that a broker is reachable and accepts our token.

pulsar-client reports an unreachable broker and a missing, forged or expired token alike: as a time-out after its whole
operation limit. The broker itself reports the cause at once, in its first answer. So this module opens a connection
before the client does and sends CONNECT (Pulsar's binary protocol: two lengths and a `BaseCommand` of PulsarApi.proto).
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

from messages.reasons import reason_of
from telemetry import logs
from telemetry.events import Event
from transport.errors import BrokerDown, BrokerUnauthorized

__all__ = ["connect_frame", "probe", "probe_any", "rejection"]

_TIMEOUT: Final = 5.0
_MAX_FRAME: Final = 1 << 20
_CONNECT: Final = 2
_CONNECTED: Final = 3
_ERROR: Final = 14
_PROTOCOL: Final = 15
"""Protocol version; supported by brokers since Pulsar 2.4."""
_REJECTIONS: Final = {3: "authentication", 4: "authorization"}
"""Values of `ServerError` (PulsarApi.proto) that concern the token."""
_VARINT: Final = 0
_BYTES: Final = 2

log = logs.get(__name__)


async def probe_any(hosts: Sequence[tuple[str, int]], probe_host: Callable[[str, int], Awaitable[None]]) -> None:
    """Probe hosts one after the other until one answers.

    Args:
        hosts: names and ports, at least one.
        probe_host: probes one host.

    Raises:
        transport.errors.BrokerDown: no host answers; the error is that of the last host.
        transport.errors.BrokerUnauthorized: the broker rejects this token.
    """
    for host, port in hosts[:-1]:
        try:
            return await probe_host(host, port)
        except BrokerUnauthorized:
            raise
        except BrokerDown as error:
            log.warning(Event.BROKER_AWAY, error=error)
    return await probe_host(*hosts[-1])


async def probe(host: str, port: int, *, token: str | None, tls: ssl.SSLContext | None) -> None:
    """Open a connection, send CONNECT with the token, read the first answer and close the connection.

    Only an authentication or authorization error in the answer raises. Any other answer passes: the client will report
    what is wrong.

    Raises:
        transport.errors.BrokerDown: no broker answers there, or TLS fails.
        transport.errors.BrokerUnauthorized: the broker rejects this token.
    """
    try:
        async with asyncio.timeout(_TIMEOUT):
            reader, writer = await asyncio.open_connection(host, port, ssl=tls)
            try:
                writer.write(connect_frame(token))
                size = int.from_bytes(await reader.readexactly(4))
                answer = await reader.readexactly(min(size, _MAX_FRAME))
            finally:
                writer.transport.abort()  # `close` would wait for the peer's TLS shutdown
    except asyncio.IncompleteReadError as error:
        raise BrokerDown(
            f"{host}:{port} closed the connection: check that it is a Pulsar broker and whether it expects TLS"
        ) from error
    except ssl.SSLError as error:
        raise BrokerDown(f"{host}:{port} is not trusted: {error.reason}; correct BROKER_TLS_CA or the name") from error
    except (OSError, TimeoutError) as error:
        raise BrokerDown(f"no broker answers at {host}:{port}: {reason_of(error)}") from error
    if reason := rejection(answer):
        raise BrokerUnauthorized(f"the broker at {host}:{port} rejects the token in BROKER_TOKEN ({reason})")


def connect_frame(token: str | None) -> bytes:
    """Build the CONNECT frame, the first frame of a client."""
    fields = _field(1, b"scf-workers") + _field(4, _PROTOCOL)
    if token is not None:
        fields += _field(3, token.encode()) + _field(5, b"token")
    command = _field(1, _CONNECT) + _field(_CONNECT, fields)
    return struct.pack(">II", len(command) + 4, len(command)) + command


def rejection(answer: bytes) -> str:
    """Return the reason for which a broker rejects the token; "" if its answer is not such an error.

    Args:
        answer: the broker's first frame, without the leading length.
    """
    try:
        command = dict(_fields(answer[4 : 4 + int.from_bytes(answer[:4])]))
        error = command.get(_ERROR)
        if command.get(1) != _ERROR or not isinstance(error, bytes):
            return ""
        fields = dict(_fields(error))
    except (IndexError, ValueError):
        return ""
    kind, text = fields.get(2), fields.get(3, b"")
    if not isinstance(kind, int) or kind not in _REJECTIONS or not isinstance(text, bytes):
        return ""
    return f"{_REJECTIONS[kind]}, {text.decode('utf-8', 'replace')[:200]}"


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3 | _VARINT) + _varint(value)
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits per byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field of a protobuf message; wire types varint and bytes only.

    Raises:
        ValueError: a field has another wire type.
        IndexError: the data is truncated.
    """
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        value, at = _read_varint(data, at)
        if key & 7 == _VARINT:
            yield key >> 3, value
        elif key & 7 == _BYTES:
            yield key >> 3, data[at : at + value]
            at += value
        else:
            raise ValueError("unsupported protobuf wire type")


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte <= 0x7F:  # noqa: PLR2004 - seven bits per byte
            return value, at
