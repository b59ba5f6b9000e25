"""Pictures of the stand-in: the reference pictures in a frame, with marks of the prompt. The calls block."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox.ark.core import Drawing
from sandbox.ark.model import Model, Refusal
from sandbox.drawing import caption, gradient, marks, place
from sandbox.whole_files import write_whole

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Pictures"]

_DRAWN_SIDE: Final = 768
"""Longer side at which a picture is drawn, before it is enlarged to what was asked for."""
_LEAST_SIDE: Final = 14


class Pictures:
    """Reference pictures and results.

    Args:
        folder: created when it is first needed.
        seed: the same seed, request and references give the same picture.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._seed = seed

    def keep(self, body: bytes, model: Model) -> str:
        """Store a reference picture. Returns its path.

        Raises:
            Refusal: the model does not take it.
        """
        _check_reference(body, model)
        path = self._folder / "references" / hashlib.sha256(body).hexdigest()
        write_whole(path, body)
        return str(path)

    def draw(self, drawing: Drawing, index: int) -> bytes:
        """Return a picture in the size and format that were asked for; several of one request differ."""
        from PIL import Image

        width, height = drawing.wanted.size
        scale = min(1.0, _DRAWN_SIDE / max(width, height))
        picture = self._compose(drawing, index, (max(1, int(width * scale)), max(1, int(height * scale))))
        out = io.BytesIO()
        picture.resize((width, height), Image.Resampling.BILINEAR).save(out, drawing.wanted.format.upper(), quality=88)
        return out.getvalue()

    def _compose(self, drawing: Drawing, index: int, size: tuple[int, int]) -> Image:
        """Draw a frame in the prompt's colour, the references side by side, and the marks."""
        from PIL import Image, ImageDraw

        digest = hashlib.sha256(drawing.wanted.prompt.encode()).digest()
        turn = (digest[0] * 2 + (drawing.number + index) * 47 + self._seed) % 360
        canvas = Image.new("RGB", size, f"hsl({turn}, 55%, 42%)")
        unit = max(1, min(size) // 24)
        inner = (unit, unit, size[0] - unit, size[1] - 4 * unit)
        if drawing.references:
            place(canvas, drawing.references, inner, mirrored=bool(drawing.number % 2))
        else:
            gradient(canvas, inner, turn)
        brush = ImageDraw.Draw(canvas)
        marks(brush, digest, (unit, size[1] - 3 * unit, size[0] - unit, size[1] - 2 * unit))
        caption(brush, f"SEEDREAM {drawing.number}.{index + 1}  {digest.hex()[:8]}", (unit, size[1] - 2 * unit), unit)
        if drawing.wanted.watermark:
            caption(brush, "AI", (size[0] - 3 * unit, size[1] - 2 * unit), unit)
        return canvas


def _check_reference(body: bytes, model: Model) -> None:
    from PIL import Image, UnidentifiedImageError

    if len(body) > model.reference_bytes:
        raise Refusal("InvalidParameter.OversizedImage", f"The image has more than {model.reference_bytes} bytes.")
    try:
        with Image.open(io.BytesIO(body)) as opened:
            kind, (width, height) = opened.format, opened.size
            opened.verify()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise Refusal("InvalidImageURL.InvalidFormat", "The image cannot be decoded.") from None
    if kind not in {"JPEG", "PNG"}:
        raise Refusal("InvalidParameter.UnsupportedImageFormat", "The image is neither JPEG nor PNG.")
    if width * height > model.reference_pixels:
        raise Refusal("InvalidParameter.OversizedImage", f"The image has more than {model.reference_pixels} pixels.")
    short, long = sorted((width, height))
    if short <= _LEAST_SIDE or long > short * model.reference_ratio:
        raise Refusal("InvalidParameter", "The image is too small, or its aspect ratio is out of range.")
