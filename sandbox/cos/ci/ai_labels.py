"""Metadata labels of AI-made content: rule, writer and reader, as CI has them. Pure.

Sources: Tencent CI, "Add AIGC metadata to a picture" (document 436/124900: rule, JPG and PNG; values in URL-safe base64
without padding, only `Label` is required) and "Query" (460/122025). In a file the label is JSON under `TC260:AIGC` of
XMP (practice guide TC260-PG-20258A). Undocumented, so chosen here: a packet that is there is replaced, and any later
step of a pipeline drops the label, so it must come last.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
import zlib
from collections.abc import Iterator
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from sandbox.cos.errors import UnknownOperation

__all__ = ["NAMESPACE", "label_in", "read_label", "write_label"]

NAMESPACE = "http://www.tc260.org.cn/ns/AIGC/1.0/"
"""XML namespace of the label."""

_FIELDS = (
    "Label",
    "ContentProducer",
    "ProduceID",
    "ReservedCode1",
    "ContentPropagator",
    "PropagateID",
    "ReservedCode2",
)
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_KEYWORD = b"XML:com.adobe.xmp\0"
_PNG = b"\x89PNG\r\n\x1a\n"
_SOS = 0xDA


def read_label(words: list[str]) -> dict[str, str]:
    """Return the label of a rule: the words behind `imageMogr2/AIGCMetadata`.

    Raises:
        UnknownOperation: an unknown field, one given twice, a value that is no base64, or no `Label`.
    """
    label: dict[str, str] = {}
    for name, value in zip(words[::2], [*words[1::2], ""], strict=False):
        if name not in _FIELDS or name in label:
            raise UnknownOperation(f"AIGCMetadata {name[:50]}: unknown, or given twice")
        label[name] = _decoded(value)
    if label.get("Label") not in {"1", "2", "3"}:
        raise UnknownOperation("AIGCMetadata without a Label of 1, 2 or 3")
    return label


def _decoded(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", value):
        raise UnknownOperation(f"{value[:50]!r} is no URL-safe base64 without padding")
    try:
        return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise UnknownOperation(f"{value[:50]!r} is no URL-safe base64 of a text") from error


def write_label(body: bytes, form: str, label: dict[str, str]) -> bytes:
    """Return a picture with a label in its metadata; nothing else changes.

    Raises:
        UnknownOperation: neither JPEG nor PNG.
    """
    text = escape(json.dumps(label, ensure_ascii=False, separators=(",", ":")))
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:TC260="{NAMESPACE}"><TC260:AIGC>{text}</TC260:AIGC></rdf:Description>'
        "</rdf:RDF></x:xmpmeta>"
    ).encode()
    match form:
        case "jpeg":
            segment = struct.pack(">BBH", 0xFF, 0xE1, len(_XMP) + len(packet) + 2) + _XMP + packet
            parts = [part for part in _segments(body) if not part[4:].startswith(_XMP)]
            place = 2 if parts[1][1] == 0xE0 else 1  # noqa: PLR2004 - JFIF's segment comes first
            return b"".join((*parts[:place], segment, *parts[place:]))
        case "png":
            text_chunk = b"iTXt" + _KEYWORD + b"\0\0\0\0" + packet
            chunk = struct.pack(">I", len(text_chunk) - 4) + text_chunk + struct.pack(">I", zlib.crc32(text_chunk))
            chunks = [part for part in _chunks(body) if not part[4:].startswith(b"iTXt" + _KEYWORD)]
            return b"".join((_PNG, chunks[0], chunk, *chunks[1:]))
        case _:
            raise UnknownOperation(f"AIGCMetadata on {form}: JPG and PNG only")


def label_in(body: bytes, form: str) -> dict[str, str]:
    """Return the label in a picture's metadata; empty for none.

    Raises:
        UnknownOperation: neither JPEG nor PNG.
    """
    if form not in {"jpeg", "png"}:
        raise UnknownOperation(f"ImageAIGCMetadata of {form}: JPG and PNG only")
    for part in _segments(body) if form == "jpeg" else _chunks(body):
        prefix = _XMP if form == "jpeg" else b"iTXt" + _KEYWORD + b"\0\0\0\0"
        if part[4:].startswith(prefix) and (label := _label_of(part[4 + len(prefix) :])):
            return label
    return {}


def _label_of(packet: bytes) -> dict[str, str]:
    name = f"{{{NAMESPACE}}}AIGC"
    try:
        root = ET.fromstring(packet[: packet.rindex(b">") + 1])  # noqa: S314 - a stand-in for tests
        texts = (node.text if node.tag == name else node.get(name) for node in root.iter())
        label: object = json.loads(next(filter(None, texts), "{}"))
    except (ET.ParseError, ValueError):
        return {}
    return {str(key): str(value) for key, value in label.items()} if isinstance(label, dict) else {}


def _segments(body: bytes) -> Iterator[bytes]:
    """Yield the segments of a JPEG that has been read before; the scan and all behind it are the last."""
    yield body[:2]
    at = 2
    while body[at + 1] != _SOS:
        if body[at + 1] == 0xFF:  # noqa: PLR2004 - a fill byte
            at += 1
            continue
        (length,) = struct.unpack_from(">H", body, at + 2)
        yield body[at : at + 2 + length]
        at += 2 + length
    yield body[at:]


def _chunks(body: bytes) -> Iterator[bytes]:
    at = len(_PNG)
    while at < len(body):
        (length,) = struct.unpack_from(">I", body, at)
        yield body[at : at + 12 + length]
        at += 12 + length
