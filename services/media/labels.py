"""Labels that say a picture was made by AI: found in any metadata, written as one small XMP packet. Pure.

Two are known: the implicit label that Chinese law asks for (GB 45438-2025: a JSON object under the name `AIGC`, in XMP
as `TC260:AIGC`), and IPTC's digital source type, which C2PA manifests quote too.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

__all__ = ["XMP_PACKET_MAX", "aigc_of", "completed", "label_of", "packet_of"]

XMP_PACKET_MAX: Final = 8192
"""Bytes of a packet that `label_of` makes, at most."""

_SEARCHED: Final = 4 << 20
_AIGC: Final = re.compile(rb"AIGC[^{]{0,64}+(\{[^{}]{1,4096}+\})")
_SOURCE: Final = re.compile(rb"https?://cv\.iptc\.org/newscodes/digitalsourcetype/([A-Za-z]{1,64})")
_OF_AI: Final = frozenset({"trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "algorithmicMedia"})


def label_of(metadata: bytes) -> bytes:
    """Return the XMP packet with only the labels of AI-made content that some metadata holds.

    Empty where there is none.
    """
    metadata = metadata[:_SEARCHED]
    if b"A\0I\0G\0C" in metadata:
        # EXIF's comments may be in UTF-16, of either order.
        metadata += metadata.replace(b"\0", b"")
    return packet_of(_aigc_of(metadata), _source_of(metadata))


def completed(found: bytes, given: bytes) -> bytes:
    """Return a packet with the labels of `found`, and those of `given` that `found` has not; both of this module."""
    return packet_of(_aigc_of(found) or _aigc_of(given), _source_of(found) or _source_of(given))


def aigc_of(packet: bytes) -> dict[str, str]:
    """Return the label that the law requires from a packet or other metadata; empty for none."""
    found = _aigc_of(packet)
    return msgspec.json.decode(found, type=dict[str, str]) if found else {}


def packet_of(aigc: str, source: str = "") -> bytes:
    """Return an XMP packet of labels; empty for none.

    Args:
        aigc: JSON of the label that the law requires; empty for none.
        source: last part of IPTC's digital source type; empty for none.
    """
    if not aigc and not source:
        return b""
    # Imported here, because it imports an HTTP client: every cold start of a function would pay for that.
    from xml.sax.saxutils import escape, quoteattr

    attributes = f" TC260:AIGC={quoteattr(aigc)}" if aigc else ""
    kind = f"http://cv.iptc.org/newscodes/digitalsourcetype/{source}"
    inner = f"<Iptc4xmpExt:DigitalSourceType>{escape(kind)}</Iptc4xmpExt:DigitalSourceType>" if source else ""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:TC260="http://www.tc260.org.cn/ns/AIGC/1.0/"'
        f' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"{attributes}>{inner}</rdf:Description>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()


def _aigc_of(metadata: bytes) -> str:
    """Return the JSON of the label that the law requires, written again."""
    # Imported here for the same reason: its table of names is long.
    from html import unescape

    for found in _AIGC.finditer(metadata):
        text = unescape(found[1].decode(errors="replace"))
        try:
            label = msgspec.json.decode(text, type=dict[str, str])
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            continue
        written = msgspec.json.encode(label).decode()
        if label and len(written) <= XMP_PACKET_MAX // 2:
            return written
    return ""


def _source_of(metadata: bytes) -> str:
    names = (found[1].decode() for found in _SOURCE.finditer(metadata))
    return next((name for name in names if name in _OF_AI), "")
