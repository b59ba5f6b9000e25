"""Pictures of the stand-in. The calls block: run them in a thread."""

from __future__ import annotations

import hashlib
import io
import random
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox.runninghub.model import Job, Upload

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Pictures"]

_SIDE: Final = 512
_PREVIEW_SIDE: Final = 128
_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".zip", ".mp3", ".wav", ".mp4"})


class Pictures:
    """Uploads and results on disk.

    Args:
        folder: created when it is first needed.
        seed: the same seed, job number and photo give the same pictures.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._seed = seed

    def save(self, key: str, filename: str, body: bytes) -> tuple[str, Upload]:
        """Store an uploaded file. Returns its name without a folder, and its description."""
        suffix = Path(filename).suffix.lower()
        owner = hashlib.sha256(key.encode()).hexdigest()[:8]
        name = hashlib.sha256(body).hexdigest() + (suffix if suffix in _SUFFIXES else "")
        path = self._folder / "uploads" / owner / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        return name, Upload(key, str(path), _is_picture(body))

    def result(self, job: Job, index: int) -> bytes:
        """Return the n-th picture of a job as PNG, drawn at the first call; 0 is the preview."""
        path = self._folder / "results" / job.id / f"{index:02d}.png"
        if path.exists():
            return path.read_bytes()
        picture = self._vary(self._photo(job), job, index)
        out = io.BytesIO()
        picture.save(out, "PNG", compress_level=1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(out.getvalue())
        return out.getvalue()

    def _photo(self, job: Job) -> Image:
        from PIL import Image, ImageOps

        if not job.photos:
            return Image.linear_gradient("L").convert("RGB")
        with Image.open(job.photos[0].path) as opened:
            opened.draft("RGB", (_SIDE, _SIDE))
            photo = ImageOps.exif_transpose(opened).convert("RGB")
        return ImageOps.contain(photo, (_SIDE, _SIDE))

    def _vary(self, photo: Image, job: Job, index: int) -> Image:
        """Vary crop, rotation, side and tint, and draw the number, so that no two pictures are equal."""
        from PIL import Image, ImageDraw, ImageFont, ImageOps

        if index == 0:
            photo.thumbnail((_PREVIEW_SIDE, _PREVIEW_SIDE))
            return photo
        chance = random.Random(f"{self._seed} {job.number} {index}")  # noqa: S311 - no secret, and repeatable
        width, height = photo.size
        share = chance.uniform(0.75, 1.0)
        left, top = (1 - share) * width * chance.random(), (1 - share) * height * chance.random()
        picture = photo.rotate(chance.uniform(-8, 8), Image.Resampling.BILINEAR, fillcolor=(236, 236, 236))
        picture = picture.resize(
            photo.size, Image.Resampling.BILINEAR, box=(left, top, left + share * width, top + share * height)
        )
        if index % 2 == 0:
            picture = ImageOps.mirror(picture)
        tint = Image.new("RGB", picture.size, f"hsl({index * 29 % 360}, 70%, 60%)")
        picture = Image.blend(picture, tint, 0.18)
        size = max(12, min(picture.size) // 12)
        font = ImageFont.load_default(size)
        ImageDraw.Draw(picture).text(
            (size // 2, size // 2), f"POSE {index:02d}", "white", font, stroke_width=2, stroke_fill="black"
        )
        return picture


def _is_picture(body: bytes) -> bool:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(body)) as opened:
            opened.verify()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False
    return True
