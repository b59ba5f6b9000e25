"""Videos of the stand-ins: encoded as H.264 in an mp4, and read, with the libraries of FFmpeg (package `av`).

The calls block: run them in a thread. Importing `av` takes a while, so it is imported there too.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from sandbox.whole_files import beside

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream
    from PIL.Image import Image

__all__ = ["NoVideo", "Probe", "encode", "encoded", "frame_at", "frames_of", "probe", "tags_of", "timed_frames"]

_RATE: Final = 24


class NoVideo(ValueError):
    """The file has no video stream that can be read."""


class Probe(NamedTuple):
    """Facts of a file with a video stream."""

    format: str
    """Name of FFmpeg, such as `mov,mp4,m4a,3gp,3g2,mj2`."""
    codec: str
    width: int
    height: int
    seconds: float
    frames: int
    """Number by its head; 0 where that has none."""
    rate: float
    """Frames a second."""


def encode(frames: Iterable[Image], path: Path, *, rate: int = _RATE) -> None:
    """Write an mp4 of frames that have the same even width and height.

    It is written beside its place and moved there, so that a reader finds all of it or nothing.
    """
    with beside(path) as draft:
        _write(frames, str(draft), rate, {"movflags": "faststart"})


def encoded(frames: Iterable[Image], *, rate: int = _RATE) -> bytes:
    """Return such an mp4, with its index at the end."""
    out = io.BytesIO()
    _write(frames, out, rate, {})
    return out.getvalue()


def _write(frames: Iterable[Image], target: str | BinaryIO, rate: int, options: dict[str, str]) -> None:
    import av

    with av.open(target, "w", format="mp4", options=options) as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "28", "threads": "1"})
        for number, image in enumerate(frames):
            if number == 0:
                stream.width, stream.height, stream.pix_fmt = image.width, image.height, "yuv420p"
            frame = av.VideoFrame.from_image(image)  # type: ignore[no-untyped-call] # its stub leaves out the types
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def probe(file: Path | BinaryIO) -> Probe:
    """Read the facts of a file from its head.

    Raises:
        NoVideo: it has no video stream that can be read.
    """
    import av

    with _opened(file) as container:
        stream = _stream(container)
        seconds = float(container.duration or 0) / av.time_base
        if stream.duration and stream.time_base:
            seconds = float(stream.duration * stream.time_base)
        context = stream.codec_context
        rate = float(stream.average_rate or 0)
        facts = (context.name, stream.width, stream.height, seconds, stream.frames, rate)
        return Probe(container.format.name, *facts)


def tags_of(file: Path | BinaryIO) -> dict[str, str]:
    """Return the metadata of a file.

    Raises:
        NoVideo: it has no video stream that can be read.
    """
    with _opened(file) as container:
        return dict(container.metadata)


def frame_at(file: Path | BinaryIO, at_s: float) -> Image:
    """Return the frame of a time, or the last one before it.

    Raises:
        NoVideo: no frame can be read.
    """
    found: Image | None = None
    for seconds, image in timed_frames(file, at_s):
        if found is not None and seconds > at_s:
            break
        found = image
    if found is None:
        raise NoVideo("no frame")
    return found


def frames_of(file: Path | BinaryIO, most: int) -> Iterator[Image]:
    """Yield the first frames of a video.

    Raises:
        NoVideo: it has no video stream that can be read.
    """
    for number, (_, image) in enumerate(timed_frames(file)):
        if number == most:
            return
        yield image


def timed_frames(file: Path | BinaryIO, from_s: float = 0.0) -> Iterator[tuple[float, Image]]:
    """Yield frames with their times in seconds, from the last key frame before a time.

    Raises:
        NoVideo: it has no video stream that can be read, or breaks off.
    """
    import av
    from av.error import FFmpegError

    with _opened(file) as container:
        try:
            if from_s:
                container.seek(int(from_s * av.time_base))
            for frame in container.decode(_stream(container)):
                yield float(frame.time or 0.0), frame.to_image()  # type: ignore[no-untyped-call] # as above
        except FFmpegError as error:
            raise NoVideo(str(error)) from error


def _opened(file: Path | BinaryIO) -> InputContainer:
    import av
    from av.error import FFmpegError

    try:
        return av.open(str(file) if isinstance(file, Path) else file, "r")
    except (FFmpegError, ValueError) as error:
        raise NoVideo(str(error)) from error


def _stream(container: InputContainer) -> VideoStream:
    stream = next(iter(container.streams.video), None)
    # Pictures are streams of one frame for FFmpeg.
    if stream is None or container.format.name.endswith(("_pipe", "image2")):
        raise NoVideo("no video stream")
    return stream
