"""Files of the stand-in: uploads, and pictures and videos as results. The calls block: run them in a thread."""

from __future__ import annotations

import hashlib
import io
import random
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from sandbox.drawing import caption, turned
from sandbox.runninghub.model import Job, Upload
from sandbox.runninghub.videos import draw_preview, draw_video
from sandbox.video import NoVideo, probe
from sandbox.whole_files import write_whole

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Pictures"]

_SIDE: Final = 512
_PREVIEW_SIDE: Final = 128
_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".zip", ".mp3", ".wav", ".mp4", ".mov"})


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
        name = hashlib.sha256(body).hexdigest()
        path = self.place(key)
        path.write_bytes(body)
        return self.keep(key, filename, path, name)

    def place(self, key: str) -> Path:
        """Return a new path for a file that is being received."""
        folder = self._folder / "uploads" / hashlib.sha256(key.encode()).hexdigest()[:8]
        folder.mkdir(parents=True, exist_ok=True)
        return folder / secrets.token_hex(8)

    def keep(self, key: str, filename: str, path: Path, digest: str) -> tuple[str, Upload]:
        """Move a received file to its place. Returns its name without a folder, and its description."""
        suffix = Path(filename).suffix.lower()
        name = digest + (suffix if suffix in _SUFFIXES else "")
        path = path.replace(path.with_name(name))
        return name, Upload(key, str(path), _media(path))

    def result(self, job: Job, index: int) -> tuple[bytes, str]:
        """Return the n-th result of a job with its media type, made at the first call; 0 is the preview."""
        if index and job.shape.media == "video":
            path = self._folder / "results" / job.id / f"{index:02d}.mp4"
            if not path.exists():
                draw_video(job, path)
            return path.read_bytes(), "video/mp4"
        path = self._folder / "results" / job.id / f"{index:02d}.png"
        if path.exists():
            return path.read_bytes(), "image/png"
        picture = draw_preview(job) if job.shape.media == "video" else self._vary(self._photo(job), job, index)
        out = io.BytesIO()
        picture.save(out, "PNG", compress_level=1)
        write_whole(path, out.getvalue())
        return out.getvalue(), "image/png"

    def _photo(self, job: Job) -> Image:
        from PIL import Image, ImageOps

        if not job.photos:
            return Image.linear_gradient("L").convert("RGB")
        with Image.open(job.photos[0].path) as opened:
            opened.draft("RGB", (_SIDE, _SIDE))
            photo = ImageOps.exif_transpose(opened).convert("RGB")
        return ImageOps.contain(photo, (_SIDE, _SIDE))

    def _vary(self, photo: Image, job: Job, index: int) -> Image:
        """Vary crop, rotation, side and tint, and write the number, so that no two pictures are equal."""
        from PIL import Image, ImageDraw, ImageOps

        if index == 0:
            photo.thumbnail((_PREVIEW_SIDE, _PREVIEW_SIDE))
            return photo
        chance = random.Random(f"{self._seed} {job.number} {index}")  # noqa: S311 - no secret, and repeatable
        picture = turned(photo, chance.uniform(-6, 6))
        share = chance.uniform(0.8, 1.0)
        # From the top on, because heads are there.
        left = (1 - share) * photo.width * chance.random()
        box = (left, 0, left + share * photo.width, share * photo.height)
        picture = picture.resize(photo.size, Image.Resampling.BILINEAR, box=box)
        if index % 2 == 0:
            picture = ImageOps.mirror(picture)
        tint = Image.new("RGB", picture.size, f"hsl({index * 29 % 360}, 70%, 60%)")
        picture = Image.blend(picture, tint, 0.18)
        size = max(12, min(picture.size) // 12)
        caption(ImageDraw.Draw(picture), f"POSE {index:02d}", (size // 2, picture.height - 2 * size), size)
        return picture


def _media(path: Path) -> Literal["image", "video", ""]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            opened.verify()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        pass
    else:
        return "image"
    try:
        probe(path)
    except NoVideo:
        return ""
    return "video"
