"""Parts that a picture loses before it is shown, and parts that it keeps: above all its pixels."""

from __future__ import annotations

import io
import random
import re
import struct
import tracemalloc
import zlib
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from services.media.labels import label_of, packet_of
from services.media.strip import Malformed, Stripped, Truncated, strip

GPS: Final = b"31.2304 N, 121.4737 E"
ARCHIVE: Final = b"PK\x03\x04 an archive that hangs behind the picture"
AIGC: Final = b'<TC260:AIGC>{"Label":"1","ContentProducer":"vendor"}</TC260:AIGC>'
XMP: Final = b"<x:xmpmeta>" + AIGC + b"<secret>" + GPS + b"</secret></x:xmpmeta>"
LABEL: Final = packet_of('{"Label":"1"}')
FORMATS: Final = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}


def pixels(size: tuple[int, int] = (40, 30), mode: str = "RGB") -> Image.Image:
    rng = random.Random(5)
    return Image.frombytes(mode, size, rng.randbytes(size[0] * size[1] * len(mode)))


def exif(orientation: int = 1) -> bytes:
    held = Image.Exif()
    held[0x0112] = orientation
    held[0x010E] = GPS.decode()
    return held.tobytes()


def other_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def encoded(content_type: str, image: Image.Image | None = None, **more: Any) -> bytes:
    buffer = io.BytesIO()
    more = {"lossless": True, **more} if content_type == "image/webp" else more
    (image or pixels()).save(buffer, FORMATS[content_type], **more)
    return buffer.getvalue()


def written(data: bytes, stripped: Stripped) -> bytes:
    body = b"".join(piece if isinstance(piece, bytes) else data[slice(*piece)] for piece in stripped.pieces)
    assert len(body) == stripped.size
    return body


def without(data: bytes, content_type: str, label: bytes = b"") -> bytes:
    return written(data, strip(data, content_type, label))


def shown(data: bytes) -> tuple[str, tuple[int, int], bytes]:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image.mode, image.size, image.tobytes()


@pytest.mark.parametrize("content_type", FORMATS)
def test_metadata_goes_and_every_pixel_stays(content_type: str) -> None:
    data = encoded(content_type, exif=exif(), xmp=XMP, icc_profile=srgb_profile())
    assert GPS in data
    assert (cleaned := without(data, content_type)) != data
    assert GPS not in cleaned
    assert b"sRGB" not in cleaned.replace(b"sRGB\0", b"")
    assert shown(cleaned) == shown(data)


@pytest.mark.parametrize("content_type", FORMATS)
def test_an_archive_behind_the_end_goes(content_type: str) -> None:
    data = encoded(content_type)
    assert without(data + ARCHIVE, content_type) == without(data, content_type)


@pytest.mark.parametrize("content_type", FORMATS)
def test_a_clean_picture_stays_as_it_is(content_type: str) -> None:
    data = encoded(content_type)
    assert without(data, content_type) == data
    assert without(without(data, content_type), content_type) == data


@pytest.mark.parametrize("content_type", FORMATS)
def test_a_profile_that_is_not_plain_srgb_stays(content_type: str) -> None:
    with Image.open(io.BytesIO(without(encoded(content_type, icc_profile=other_profile()), content_type))) as image:
        assert image.info["icc_profile"] == other_profile()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_jpeg_stays(orientation: int) -> None:
    cleaned = without(encoded("image/jpeg", exif=exif(orientation)), "image/jpeg")
    with Image.open(io.BytesIO(cleaned)) as image:
        assert image.getexif().get(0x0112, 1) == orientation
        assert set(image.getexif()) <= {0x0112}


@pytest.mark.parametrize("content_type", FORMATS)
def test_a_label_of_ai_made_content_stays_and_nothing_beside_it(content_type: str) -> None:
    # WebP without a VP8X header has no place for metadata, so nothing to keep.
    data = encoded(content_type, xmp=XMP) if content_type != "image/png" else png_with_xmp(XMP)
    cleaned = without(data, content_type)
    assert b"TC260:AIGC" in cleaned
    assert b"ContentProducer" in cleaned
    assert GPS not in cleaned
    assert shown(cleaned) == shown(data)
    assert without(cleaned, content_type) == cleaned
    assert strip(data, content_type).label == label_of(XMP)


def png_with_xmp(xmp: bytes) -> bytes:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp.decode())
    return encoded("image/png", pnginfo=info)


@pytest.mark.parametrize("content_type", ["image/jpeg", "image/png"])
def test_a_label_can_be_put_back_where_a_converter_lost_it(content_type: str) -> None:
    label = label_of(XMP)
    cleaned = without(encoded(content_type), content_type, label)
    assert label in cleaned
    assert shown(cleaned) == shown(encoded(content_type))


def test_transparency_palettes_and_animations_stay() -> None:
    palette = pixels().convert("P", palette=Image.Palette.ADAPTIVE)
    for image in (pixels(mode="RGBA"), pixels().convert("L"), palette, pixels().convert("1")):
        data = encoded("image/png", image, exif=exif())
        assert shown(without(data, "image/png")) == shown(data)
    frames = [pixels((20 + n, 20)).resize((20, 20)) for n in range(4)]
    for content_type in ("image/png", "image/webp"):
        data = encoded(content_type, frames[0], save_all=True, append_images=frames[1:], exif=exif(), duration=90)
        with Image.open(io.BytesIO(without(data, content_type))) as image:
            assert getattr(image, "n_frames", 1) == 4


def test_a_progressive_jpeg_with_restarts_and_cmyk_stays() -> None:
    for more in ({"progressive": True}, {"restart_marker_blocks": 1}, {"optimize": True}):
        data = encoded("image/jpeg", pixels((200, 100)), exif=exif(), comment=GPS, **more)
        assert GPS not in without(data, "image/jpeg")
        assert shown(without(data, "image/jpeg")) == shown(data)
    data = encoded("image/jpeg", pixels().convert("CMYK"), exif=exif())
    assert shown(without(data, "image/jpeg")) == shown(data)


def test_pictures_inside_a_jpeg_go_with_what_follows_its_end() -> None:
    """A second whole picture behind the first, as phones append them (MPF), and a thumbnail inside EXIF."""
    inner = encoded("image/jpeg", pixels((16, 16)), comment=GPS)
    data = encoded("image/jpeg", exif=exif()) + inner
    assert without(data, "image/jpeg") == without(encoded("image/jpeg", exif=exif()), "image/jpeg")


@pytest.mark.parametrize("content_type", FORMATS)
def test_every_cut_is_noticed_and_none_is_taken_for_whole(content_type: str) -> None:
    data = encoded(content_type, exif=exif(6), xmp=XMP)
    for end in range(len(data) - 1):
        with pytest.raises(Malformed):
            strip(data[:end], content_type)


def test_a_picture_that_ends_in_the_middle_is_told_from_one_that_never_was() -> None:
    data = encoded("image/jpeg")
    with pytest.raises(Truncated):
        strip(data[:-2], "image/jpeg")
    with pytest.raises(Malformed) as caught:
        strip(b"\xff\xd8" + b"no segment", "image/jpeg")
    assert not isinstance(caught.value, Truncated)


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("image/jpeg", b"\xff\xd8\xff\xe0\0\1"),  # a segment shorter than its own length
        ("image/jpeg", b"\xff\xd8" + b"\xff" * 100),  # fill bytes without an end
        ("image/jpeg", b"\xff\xd8\xff\xda\0\2" + b"\xff\0" * 100),
        ("image/png", b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffIHDR"),
        ("image/webp", b"RIFF\xff\xff\xff\xffWEBP"),
        ("image/webp", b"RIFF\0\0\0\0WEBP"),
        ("video/mp4", b"\0\0\0\1ftypisom\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("video/mp4", b"\0\0\0\7ftypisom"),
    ],
)
def test_lengths_that_lie_lead_nowhere(content_type: str, data: bytes) -> None:
    try:
        stripped = strip(data, content_type)
    except Malformed:
        return
    assert stripped.size <= len(data) + 12


@pytest.mark.parametrize("content_type", FORMATS)
@given(data=st.data())
def test_damage_is_malformed_or_stays_within_the_file(content_type: str, data: st.DataObject) -> None:
    whole = bytearray(encoded(content_type, pixels((8, 8)), exif=exif(3)))
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=8)):
        whole[at] = data.draw(st.integers(0, 255))
    damaged = bytes(whole)
    try:
        stripped = strip(damaged, content_type, data.draw(st.sampled_from([b"", LABEL])))
    except Malformed:
        return
    written(damaged, stripped)
    ranges = [piece for piece in stripped.pieces if isinstance(piece, tuple)]
    assert all(0 <= begin <= end <= len(damaged) for begin, end in ranges)
    assert ranges == sorted(ranges)


@pytest.mark.parametrize("side", [6, 8])
def test_a_webp_without_a_size_is_malformed_where_a_label_needs_it(side: int) -> None:
    data = bytearray(encoded("image/webp", pixels((8, 8)), lossless=False))
    assert data[12:16] == b"VP8 "
    data[20 + side : 22 + side] = bytes(2)
    with pytest.raises(Malformed):
        strip(bytes(data), "image/webp", LABEL)


def test_fill_bytes_before_a_segment_change_nothing() -> None:
    data = encoded("image/jpeg", pixels().convert("CMYK"), exif=exif(6), icc_profile=other_profile())
    filled = re.sub(rb"\xff(?=[\xe0-\xef\xdb\xc4])", b"\xff\xff\xff", data[:400]) + data[400:]
    assert filled != data
    cleaned = without(filled, "image/jpeg")
    assert GPS not in cleaned
    with Image.open(io.BytesIO(cleaned)) as image:
        assert image.getexif()[0x0112] == 6
        assert image.info["icc_profile"] == other_profile()
        assert shown(cleaned) == shown(data)


SECRET: Final = b"#!/bin/sh\n rm -rf" + bytes(200)


@pytest.mark.parametrize("marker", [0x02, 0xBF, 0xC8, 0xE0, 0xE1, 0xED, 0xEF, 0xF0, 0xFD, 0xFE])
def test_a_segment_that_no_decoder_needs_holds_nothing_for_long(marker: int) -> None:
    data = encoded("image/jpeg")
    hidden = data[:20] + struct.pack(">BBH", 0xFF, marker, len(SECRET) + 2) + SECRET + data[20:]
    assert without(hidden, "image/jpeg") == data


def test_a_segment_that_is_needed_holds_no_more_than_is_needed() -> None:
    data = encoded("image/jpeg", pixels().convert("CMYK"))
    data = data[:2] + b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0" + data[2:]
    for name in (b"JFIF\0", b"Adobe"):
        begin = data.index(name) - 4
        (length,) = struct.unpack(">H", data[begin + 2 : begin + 4])
        end = begin + 2 + length
        longer = struct.pack(">BBH", 0xFF, data[begin + 1], length + len(SECRET))
        hidden = data[:begin] + longer + data[begin + 4 : end] + SECRET + data[end:]
        assert without(hidden, "image/jpeg") == data


@pytest.mark.parametrize("name", ["tEXt", "eXIf", "tIME", "prVt", "gAMA", "bKGD", "pHYs", "sRGB"])
def test_a_chunk_that_is_no_part_of_the_picture_holds_nothing_for_long(name: str) -> None:
    data = encoded("image/png")
    body = SECRET
    chunk = struct.pack(">I", len(body)) + name.encode() + body + struct.pack(">I", zlib.crc32(name.encode() + body))
    assert SECRET not in without(data[:33] + chunk + data[33:], "image/png")


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("image/jpeg", b"\xff\xd8\xff\xd9"),
        ("image/jpeg", b"\xff\xd8\xff\xda\0\2" + bytes(9) + b"\xff\xd9"),
        ("image/jpeg", b"\xff\xd8\xff\xfe\0\4<>\xff\xd9"),
        ("image/png", b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 0) + b"IEND\xaeB`\x82"),
        ("image/png", b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 0) + b"IDAT" + bytes(4)),
        ("image/png", b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 9) + b"IHDR" + bytes(13)),
        ("image/webp", b"RIFF\4\0\0\0WEBP"),
        ("image/webp", b"RIFF\x0e\0\0\0WEBPXMP \2\0\0\0ab"),
    ],
)
def test_a_shell_without_a_picture_is_malformed(content_type: str, data: bytes) -> None:
    with pytest.raises(Malformed):
        strip(data, content_type)


def test_a_profile_of_many_segments_stays_whole_though_it_names_srgb() -> None:
    profile = other_profile()[:128] + b"desc\0\0\0\0\0\0\0\5sRGB" + random.Random(1).randbytes(150_000)
    data = encoded("image/jpeg", icc_profile=profile)
    assert data.count(b"ICC_PROFILE\0") > 1
    with Image.open(io.BytesIO(without(data, "image/jpeg"))) as image:
        assert image.info["icc_profile"] == profile


@pytest.mark.parametrize("compressed", [True, False])
def test_a_label_in_a_compressed_text_stays(compressed: bool) -> None:  # noqa: FBT001 - pytest's
    for kind in ("itxt", "text"):
        info = PngInfo()
        add = info.add_itxt if kind == "itxt" else info.add_text
        add("XML:com.adobe.xmp" if kind == "itxt" else "AIGC", XMP.decode(), zip=compressed)
        cleaned = without(encoded("image/png", pnginfo=info), "image/png")
        assert b"ContentProducer" in cleaned
        assert GPS not in cleaned


def test_a_bomb_in_a_compressed_text_stays_small() -> None:
    packed = zlib.compress(bytes(64 << 20), 9)
    body = b"Comment\0\0" + packed
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + bytes(4)
    data = encoded("image/png")
    tracemalloc.start()
    assert without(data[:33] + chunk * 60 + data[33:], "image/png") == data
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 << 20, "unpacked it would be 3.75 GiB"


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
def test_a_label_in_an_exif_comment_stays(order: str) -> None:
    held = Image.Exif()
    held[0x010E] = "a picture"
    comment = b"UNICODE\0" + '{"AIGC":{"Label":"1","ContentProducer":"x"}}'.encode(order)
    data = encoded("image/jpeg", exif=held.tobytes() + comment)
    assert b"ContentProducer" in without(data, "image/jpeg")


@pytest.mark.parametrize("content_type", ["image/gif", "video/webm", "image/avif"])
def test_of_what_is_not_known_all_stays(content_type: str) -> None:
    assert strip(b"anything", content_type) == Stripped(((0, 8),), 8)


def test_a_whole_video_stays_and_a_cut_one_is_noticed() -> None:
    boxes = b"".join(
        struct.pack(">I4s", 8 + len(body), name) + body for name, body in ((b"ftyp", b"isom"), (b"mdat", b"x" * 50))
    )
    long_box = struct.pack(">I4sQ", 1, b"mdat", 16 + 5) + b"12345"
    to_the_end = struct.pack(">I4s", 0, b"mdat") + b"anything"
    for data in (boxes, boxes + long_box, boxes + to_the_end):
        assert without(data, "video/mp4") == data
    for data in (boxes[:-1], (boxes + long_box)[:-1]):
        with pytest.raises(Truncated):
            strip(data, "video/mp4")


def test_a_million_chunks_and_segments_are_read_in_time_that_grows_with_the_file() -> None:
    chunk = struct.pack(">I", 0) + b"tEXt" + struct.pack(">I", zlib.crc32(b"tEXt"))
    head = 8 + 25
    data = encoded("image/png")[:head] + chunk * 300_000 + encoded("image/png")[head:]
    assert without(data, "image/png") == encoded("image/png")
    segments = b"\xff\xd8" + b"\xff\xfe\0\2" * 300_000 + encoded("image/jpeg")[2:]
    assert without(segments, "image/jpeg") == encoded("image/jpeg")
