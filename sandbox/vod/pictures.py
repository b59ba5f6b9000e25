"""Pictures of the stand-in: the inputs in a frame, with marks of the prompt. The calls block.

A try-on shows the person with the colours of the clothes, and the clothes beside.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox.drawing import caption, gradient, marks, place
from sandbox.vod.model import SCENE, Job
from sandbox.whole_files import write_whole

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Pictures"]

_DRAWN_SIDE: Final = 768
"""Longer side at which a picture is drawn, before it is enlarged to what was asked for."""
_SIDES: Final = {"720p": 720, "1080p": 1080, "1k": 1024, "2k": 2048, "4k": 4096}
_TRY_ON_RATIO: Final = "3:4"


class Pictures:
    """Reference pictures and results.

    Args:
        folder: created when it is first needed.
        seed: the same seed, request and references give the same picture.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._seed = seed

    def keep(self, body: bytes) -> str:
        """Store a reference picture. Returns its path; empty if it is no picture that the vendor takes."""
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(io.BytesIO(body)) as opened:
                kind = opened.format
                opened.verify()
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            return ""
        if kind not in {"JPEG", "PNG", "WEBP"}:
            return ""
        path = self._folder / "references" / hashlib.sha256(body).hexdigest()
        write_whole(path, body)
        return str(path)

    def draw(self, job: Job, index: int) -> bytes:
        """Return a picture in the size and format that were asked for."""
        from PIL import Image

        width, height = _size(job)
        scale = min(1.0, _DRAWN_SIDE / max(width, height))
        picture = self._compose(job, index, (max(1, int(width * scale)), max(1, int(height * scale))))
        out = io.BytesIO()
        large = picture.resize((width, height), Image.Resampling.BILINEAR)
        if job.wanted.format == "png":
            large.save(out, "PNG", compress_level=1)
        else:
            large.save(out, "JPEG", quality=88)
        return out.getvalue()

    def _compose(self, job: Job, index: int, size: tuple[int, int]) -> Image:
        from PIL import Image, ImageDraw

        digest = hashlib.sha256(f"{job.wanted.model} {job.wanted.prompt}".encode()).digest()
        turn = (digest[0] * 2 + index * 47 + self._seed) % 360
        canvas = Image.new("RGB", size, f"hsl({turn}, 45%, 38%)")
        unit = max(1, min(size) // 24)
        inner = (unit, unit, size[0] - unit, size[1] - 4 * unit)
        if not job.references:
            gradient(canvas, inner, turn)
        elif job.wanted.type == SCENE:
            _dress(canvas, job.references, inner, unit)
        else:
            place(canvas, job.references, inner, mirrored=bool(index % 2))
        brush = ImageDraw.Draw(canvas)
        marks(brush, digest, (unit, size[1] - 3 * unit, size[0] - unit, size[1] - 2 * unit))
        caption(brush, f"{job.wanted.model} {job.number}.{index + 1}", (unit, size[1] - 2 * unit), unit)
        return canvas


def _size(job: Job) -> tuple[int, int]:
    side = _SIDES.get(job.wanted.size.lower(), 1024)
    ratio = job.wanted.ratio or (_TRY_ON_RATIO if job.wanted.type == SCENE else "1:1")
    width, _, height = ratio.partition(":")
    if not height:
        return side, side
    scale = side / max(int(width), int(height))
    return max(1, int(int(width) * scale)), max(1, int(int(height) * scale))


def _dress(canvas: Image, paths: tuple[str, ...], area: tuple[int, int, int, int], unit: int) -> None:
    """Draw the person large, the clothes in a column beside, and their colours over the person's lower half."""
    from PIL import Image, ImageOps

    left, top, right, bottom = area
    column = (right - left) // 4
    person = (left, top, right - column - unit, bottom)
    place(canvas, paths[:1], person, mirrored=False)
    clothes = paths[1:]
    height = (bottom - top) // 4
    half = (person[1] + person[3]) // 2
    for number, path in enumerate(clothes):
        with Image.open(path) as opened:
            cloth = ImageOps.exif_transpose(opened).convert("RGB")
        spot = (right - column, top + number * height)
        canvas.paste(ImageOps.fit(cloth, (max(1, column), max(1, height - unit))), spot)
        width = (person[2] - person[0]) // len(clothes)
        strip = (person[0] + number * width, half, person[0] + (number + 1) * width, person[3])
        worn = ImageOps.fit(cloth, (max(1, strip[2] - strip[0]), max(1, strip[3] - strip[1])))
        below = canvas.crop(strip)
        canvas.paste(Image.blend(below, worn.resize(below.size), 0.55), strip[:2])
