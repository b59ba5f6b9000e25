"""The metadata label of a video, read back by FFmpeg's libraries, and a video that plays as before."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import av
import msgspec
import pytest
from PIL import Image

from sandbox.video import encode
from services.errors import BadVideo
from services.media.ai_labels import AiLabels
from services.media.mp4_labels import LabelledVideo
from services.media.mp4_labels import label_in as read_label
from telemetry.secrets import Secret

LABEL = AiLabels("示例公司", "", Secret("a secret of the labels in tests, long"), visible=True).of(
    "t1-0-0-video_01.mp4"
)


class Source:
    def __init__(self, body: bytes, piece: int) -> None:
        self._body = body
        self._piece = piece
        self.size = len(body)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self._body), self._piece):
            yield self._body[at : at + self._piece]


def labelled(body: bytes, piece: int = 1 << 16) -> bytes:
    video = LabelledVideo(Source(body, piece), LABEL)

    async def read() -> bytes:
        return b"".join([part async for part in video])

    made = asyncio.run(read())
    assert len(made) == video.size
    return made


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A video with its index in front."""
    path = tmp_path_factory.mktemp("videos") / "fast.mp4"
    encode([Image.new("RGB", (64, 48), (n * 20, 90, 160)) for n in range(12)], path)
    return path.read_bytes()


def remuxed(body: bytes, folder: Path, **options: str) -> bytes:
    """The same frames with another structure, by FFmpeg."""
    path = folder / "other.mp4"
    with av.open(io.BytesIO(body)) as source, av.open(str(path), "w", format="mp4", options=options) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for name, value in source.metadata.items():
            target.metadata[name] = value
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return path.read_bytes()


def frames(body: bytes) -> list[str]:
    with av.open(io.BytesIO(body)) as video:
        return [hashlib.sha256(bytes(frame.planes[0])).hexdigest() for frame in video.decode(video=0)]


def label_in(body: bytes) -> dict[str, str]:
    with av.open(io.BytesIO(body)) as video:
        found: dict[str, str] = json.loads(video.metadata.get("AIGC", "{}"))
        return found


@pytest.mark.parametrize("piece", [1, 7, 100, 1 << 20])
def test_a_video_with_its_index_in_front(fast: bytes, piece: int) -> None:
    made = labelled(fast, piece)
    assert label_in(made) == LABEL.fields
    assert frames(made) == frames(fast)
    assert len(frames(made)) == 12


def test_a_video_with_its_index_at_the_end(fast: bytes, tmp_path: Path) -> None:
    slow = remuxed(fast, tmp_path)
    assert slow.index(b"moov") > slow.index(b"mdat")
    made = labelled(slow)
    assert label_in(made) == LABEL.fields
    assert frames(made) == frames(fast)


@pytest.mark.parametrize(
    "flags",
    ["empty_moov+default_base_moof", "empty_moov", "frag_keyframe", "frag_keyframe+empty_moov+omit_tfhd_offset"],
)
def test_a_video_in_fragments(fast: bytes, tmp_path: Path, flags: str) -> None:
    body = remuxed(fast, tmp_path, movflags=flags, frag_duration="100000")
    assert body.count(b"moof") > 1
    made = labelled(body, 100)
    assert label_in(made) == LABEL.fields
    assert frames(made) == frames(fast)
    # Where the index of fragments says that one begins, one begins.
    for place in places_of_fragments(made):
        assert made[place + 4 : place + 8] == b"moof"


def places_of_fragments(body: bytes) -> list[int]:
    at = body.index(b"tfra") + 4
    assert body[at] == 1
    (count,) = struct.unpack_from(">I", body, at + 12)
    assert count > 1
    row = 2 * 8 + 3 + sum(body[at + 11] >> bits & 3 for bits in (0, 2, 4))
    return [struct.unpack_from(">Q", body, at + 16 + n * row + 8)[0] for n in range(count)]


@pytest.mark.parametrize("size", [0, 9 << 20])
def test_an_index_that_is_too_large_is_not_held(size: int) -> None:
    body = struct.pack(">I4sI4s", 8, b"ftyp", size, b"moov") + bytes(9 << 20)
    with pytest.raises(BadVideo, match="more than"):
        labelled(body)


def test_wide_offsets_and_an_index_without_a_size(fast: bytes, tmp_path: Path) -> None:
    slow = remuxed(fast, tmp_path)
    at = slow.index(b"moov") - 4
    endless = slow[:at] + bytes(4) + slow[at + 4 :]
    made = labelled(endless)
    assert label_in(made) == LABEL.fields
    assert frames(made) == frames(fast)
    (size,) = struct.unpack_from(">I", fast, fast.index(b"moov") - 4)
    start = fast.index(b"moov") - 4
    wide = fast[:start] + struct.pack(">I4sQ", 1, b"moov", size + 8) + fast[start + 8 :]
    shifted = labelled(wide)
    with av.open(io.BytesIO(shifted)) as video:
        assert json.loads(video.metadata["AIGC"]) == LABEL.fields


def test_a_label_of_the_vendor_s_stays_alone_and_its_other_metadata_goes(fast: bytes, tmp_path: Path) -> None:
    theirs = {"Label": "1", "ContentProducer": "vendor"}
    for metadata, expected in ({"AIGC": json.dumps(theirs)}, theirs), ({"secret": "31.2304 N"}, LABEL.fields):
        path = tmp_path / "tagged.mp4"
        with av.open(io.BytesIO(fast)) as source:
            source.metadata.update(metadata)
            body = remuxed_with(source, path)
        made = labelled(body)
        assert label_in(made) == expected
        assert frames(made) == frames(fast)
        with av.open(io.BytesIO(made)) as video:
            assert "secret" not in video.metadata


def remuxed_with(source: av.container.InputContainer, path: Path) -> bytes:
    options = {"movflags": "use_metadata_tags+faststart"}
    with av.open(str(path), "w", format="mp4", options=options) as target:
        target.metadata.update(source.metadata)
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return path.read_bytes()


def test_a_broken_index_is_no_video(fast: bytes) -> None:
    at = fast.index(b"stbl") - 4
    with pytest.raises(BadVideo):
        labelled(fast[:at] + struct.pack(">I", 1 << 24) + fast[at + 4 :])


def box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body) + 8, name) + body


def nested(name: bytes, depth: int) -> bytes:
    """Return boxes of one name, each in the one before."""
    return b"".join(struct.pack(">I4s", 8 * (depth - n), name) for n in range(depth))


@pytest.mark.parametrize("name", [b"trak", b"traf", b"udta"])
def test_boxes_in_boxes_do_not_exhaust_the_stack(name: bytes) -> None:
    moov = box(b"moov", nested(name, 20_000))
    made = labelled(box(b"ftyp", b"isom") + moov)
    assert asyncio.run(read_label(Source(made, 1 << 16))) == msgspec.json.encode(LABEL)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        (b"stco", struct.pack(">III", 0, 3, 1 << 20)),
        (b"co64", struct.pack(">IIQ", 0, 2, 1 << 20)),
        (b"tfhd", struct.pack(">II", 1, 1)),
        (b"tfra", struct.pack(">IIII", 0, 1, 0, 2) + bytes(11)),
        (b"stco", b""),
    ],
)
def test_a_table_longer_than_its_box_is_no_video_and_nothing_behind_it_is_changed(name: bytes, body: bytes) -> None:
    behind = box(b"free", b"\xff" * 64)
    moov = box(b"moov", box(name, body) + behind)
    with pytest.raises(BadVideo):
        labelled(box(b"ftyp", b"isom") + moov + box(b"mdat", bytes(64)))


@pytest.mark.parametrize("body", [b"", b"abc", b"\0\0\0\x10ftypisomabcd", bytes(100)])
def test_what_is_no_video_keeps_its_promised_size(body: bytes) -> None:
    assert labelled(body).startswith(body)


@pytest.mark.parametrize("piece", [7, 1000, 1 << 16])
def test_the_label_is_read_back_as_it_was_written(fast: bytes, tmp_path: Path, piece: int) -> None:
    for body in (fast, remuxed(fast, tmp_path)):
        made = labelled(body)
        assert asyncio.run(read_label(Source(made, piece))) == msgspec.json.encode(LABEL)
        assert asyncio.run(read_label(Source(body, piece))) == b""


def test_a_label_that_was_read_is_written_into_another_video(fast: bytes) -> None:
    given = b'{"Label":"1","ContentProducer":"vendor"}'

    async def read() -> bytes:
        return b"".join([part async for part in LabelledVideo(Source(fast, 1000), given)])

    assert label_in(asyncio.run(read())) == json.loads(given)


def test_a_video_is_read_no_further_than_its_index(fast: bytes) -> None:
    made = labelled(fast)
    end = made.index(b"mdat")
    assert asyncio.run(read_label(Source(made[:end] + b"\xff" * 50, 100))) == msgspec.json.encode(LABEL)


@pytest.mark.parametrize("body", [b"", b"no video", b"\0\0\0\x08ftyp", b"\0\0\0\x18ftypisom" + bytes(64)])
def test_what_is_no_video_has_no_label(body: bytes) -> None:
    assert asyncio.run(read_label(Source(body, 5))) == b""


def test_an_index_that_is_too_large_is_not_read() -> None:
    with pytest.raises(BadVideo):
        asyncio.run(read_label(Source(struct.pack(">I4s", 9 << 20, b"moov") + bytes(100), 50)))
