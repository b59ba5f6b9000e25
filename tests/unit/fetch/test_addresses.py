"""Public addresses, and media types by first bytes."""

from __future__ import annotations

import io
import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from services.addresses import is_public
from services.media.types import type_of

NOT_PUBLIC = [
    "0.0.0.0",  # noqa: S104 - looked at, never bound
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.170",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "203.0.113.7",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:8.8.8.8",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1%eth0",
    "fec0::1",
    "ff02::1",
    "",
    "example.com",
    "0x7f.1",
    "2130706433",
    "127.1",
    " 8.8.8.8",
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "119.29.29.29", "2606:4700::1111", "2402:4e00::1"])
def test_public(address: str) -> None:
    assert is_public(address)


@settings(deadline=None)
@given(st.ip_addresses(v=4))
def test_no_v4_address_is_public_that_python_calls_private(address: ipaddress.IPv4Address) -> None:
    if is_public(str(address)):
        assert address.is_global
        assert not any((address.is_private, address.is_multicast, address.is_reserved, address.is_loopback))


@settings(deadline=None)
@given(st.ip_addresses(v=6))
def test_no_v6_address_is_public_that_python_calls_private_or_that_holds_a_v4_address(
    address: ipaddress.IPv6Address,
) -> None:
    if is_public(str(address)):
        assert address.is_global
        assert not any((address.is_private, address.is_multicast, address.is_reserved, address.is_site_local))
        assert address.ipv4_mapped is None
        assert address.sixtofour is None
        assert address.teredo is None


@settings(deadline=None)
@given(st.ip_addresses(v=4))
def test_no_v4_address_becomes_public_by_being_wrapped(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for wrapped in (number, (0xFFFF << 32) + number, (0x0064FF9B << 96) + number, (0x2002 << 112) + (number << 80)):
        assert not is_public(str(ipaddress.IPv6Address(wrapped)))


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_just_not_public(text: str) -> None:
    assert is_public(text) in {True, False}


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("GIF", "image/gif"),
        ("WEBP", "image/webp"),
        ("BMP", "image/bmp"),
        ("TIFF", "image/tiff"),
        ("AVIF", "image/avif"),
    ],
)
def test_types_of_real_pictures(kind: str, media_type: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(out, kind)
    assert type_of(out.getvalue()[:32]) == media_type


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41", "video/mp4"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "video/mp4"),
        (b"\0\0\0\x14ftypqt  \0\0\2\0qt  ", "video/quicktime"),
        (b"\x1aE\xdf\xa3\x9fB\x86\x81\1", "video/webm"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "image/heic"),
    ],
)
def test_types_of_videos_by_their_heads(head: bytes, media_type: str) -> None:
    assert type_of(head) == media_type


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"<html>",
        b"<?xml version='1.0'?><svg/>",
        b"%PDF-1.7",
        b"PK\3\4",
        b"GIF88a",
        b"RIFF\0\0\0\0WAVE",
        b"BMW, a car",
    ],
)
def test_what_is_neither_picture_nor_video(head: bytes) -> None:
    assert not type_of(head)
