"""Videos of the stand-in: the person of the first input with the picture of the second. The calls block."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox.drawing import caption
from sandbox.runninghub.model import Job, Upload
from sandbox.video import encode, frames_of

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["draw_preview", "draw_video"]

_SIZE: Final = (360, 480)
_FRAMES: Final = 48
"""Two seconds."""
_ZOOM: Final = 0.12
_INSET: Final = (108, 108)


def draw_video(job: Job, path: Path) -> None:
    """Write the video of a job: its person moves, with the garment in a corner."""
    encode((image for image, _ in zip(_frames(job), range(_FRAMES), strict=False)), path)


def draw_preview(job: Job) -> Image:
    """Return the first frame of a job's video."""
    return next(_frames(job))


def _frames(job: Job) -> Iterator[Image]:
    """Yield frames without an end: those of a video of the person are repeated."""
    from PIL import ImageDraw, ImageOps

    garment = _inset(job.photos[1:])
    for number, person in enumerate(_person(job.photos)):
        frame = ImageOps.fit(person, _SIZE)
        if garment is not None:
            frame.paste(garment, (_SIZE[0] - garment.width - 8, _SIZE[1] - garment.height - 24))
        pen = ImageDraw.Draw(frame)
        pen.rectangle((0, _SIZE[1] - 8, _SIZE[0] * (number % _FRAMES + 1) // _FRAMES, _SIZE[1]), "white")
        # At the bottom: the visible label of a still is at the top.
        caption(pen, f"TRY-ON {number % _FRAMES + 1:02d}", (8, _SIZE[1] - 40), 18)
        yield frame


def _person(photos: Sequence[Upload]) -> Iterator[Image]:
    """Yield frames of the person: of the video, there and back again, or of the picture, which is zoomed."""
    from PIL import Image, ImageOps

    if photos and photos[0].media == "video":
        frames = [frame.convert("RGB") for frame in frames_of(Path(photos[0].path), _FRAMES)]
        yield from itertools.cycle(frames)
        return
    if photos:
        with Image.open(photos[0].path) as opened:
            opened.draft("RGB", (2 * _SIZE[0], 2 * _SIZE[1]))
            picture = ImageOps.fit(ImageOps.exif_transpose(opened).convert("RGB"), _SIZE)
    else:
        picture = Image.linear_gradient("L").convert("RGB").resize(_SIZE)
    for number in itertools.count():
        share = 1 - _ZOOM * (number % _FRAMES) / _FRAMES
        width, height = _SIZE[0] * share, _SIZE[1] * share
        left, top = (_SIZE[0] - width) / 2, (_SIZE[1] - height) / 2
        yield picture.resize(_SIZE, Image.Resampling.BILINEAR, box=(left, top, left + width, top + height))


def _inset(photos: Sequence[Upload]) -> Image | None:
    from PIL import Image, ImageOps

    if not photos or photos[0].media != "image":
        return None
    with Image.open(photos[0].path) as opened:
        small = ImageOps.contain(ImageOps.exif_transpose(opened).convert("RGB"), _INSET)
    return ImageOps.expand(small, 3, "white")
