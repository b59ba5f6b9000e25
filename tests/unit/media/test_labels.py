"""Labels of AI-made content: found in any metadata, and written without other metadata."""

from __future__ import annotations

import html
import json
import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.media.labels import XMP_PACKET_MAX, label_of

LABEL = {"Label": "1", "ContentProducer": "001191110000", "ProduceID": "a1"}
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def read(packet: bytes) -> tuple[dict[str, str], str]:
    """The two labels of a packet, by an XML parser."""
    inner = re.sub(rb"<\?xpacket[^>]*\?>", b"", packet)
    description = ET.fromstring(inner)[0][0]  # noqa: S314 - our own
    aigc = description.get("{http://www.tc260.org.cn/ns/AIGC/1.0/}AIGC", "{}")
    source = description.findtext("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType", "")
    return json.loads(aigc), source


@pytest.mark.parametrize(
    "metadata",
    [
        b"<TC260:AIGC>" + json.dumps(LABEL).encode() + b"</TC260:AIGC>",
        b'<rdf:Description TC260:AIGC="' + html.escape(json.dumps(LABEL)).encode() + b'"/>',
        b"tEXtAIGC\0" + json.dumps(LABEL).encode(),
        b"Exif\0\0...." + b'{"AIGC":' + json.dumps(LABEL).encode() + b"}",
        b'AIGC{"broken": }' + b"AIGC" + json.dumps(LABEL).encode(),
    ],
)
def test_the_law_s_label_is_found_wherever_it_stands(metadata: bytes) -> None:
    assert read(label_of(b"before" + metadata + b"after")) == (LABEL, "")


@pytest.mark.parametrize("name", ["trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"])
def test_the_source_type_is_found(name: str) -> None:
    assert read(label_of(f"<a>{SOURCE}{name}</a>".encode())) == ({}, SOURCE + name)


@pytest.mark.parametrize(
    "metadata",
    [
        b"",
        b"no label",
        SOURCE.encode() + b"digitalCapture",
        b"AIGC {}",
        b'AIGC {"a": 1}',
        b'AIGC {"a": {"b": "c"}}',
        b'AIGC {"a": "' + b"x" * 4090 + b'"}',
        b"AIGC " + b"{" * 100_000,
    ],
)
def test_what_is_no_label_makes_no_packet(metadata: bytes) -> None:
    assert label_of(metadata) == b""


def test_a_label_that_would_write_xml_is_quoted() -> None:
    evil = {"Label": '"><script>]]>&x;</rdf:RDF>'}
    assert read(label_of(b"AIGC" + json.dumps(evil).encode())) == (evil, "")


@given(st.binary(max_size=400), st.dictionaries(st.text("ab<>&\"'\\é衣", max_size=8), st.text(max_size=20), max_size=3))
def test_a_packet_is_bounded_and_read_back_as_it_is(noise: bytes, label: dict[str, str]) -> None:
    packet = label_of(noise + b"AIGC" + json.dumps(label).encode() + noise)
    assert len(packet) <= XMP_PACKET_MAX
    assert label_of(packet) == packet
