"""Pictures of the stand-in: the reference pictures in a frame, with marks of the prompt. The calls block."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox.ark.core import Drawing
from sandbox.ark.model import Model, Refusal

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

__all__ = ["Pictures"]

_DRAWN_SIDE: Final = 768
"""Longer side at which a picture is drawn, before it is enlarged to what was asked for."""
_LEAST_SIDE: Final = 14
_MARKS: Final = 24


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
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
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
            _place(canvas, drawing.references, inner, mirrored=bool(drawing.number % 2))
        else:
            _gradient(canvas, inner, turn)
        brush = ImageDraw.Draw(canvas)
        _marks(brush, digest, (unit, size[1] - 3 * unit, size[0] - unit, size[1] - 2 * unit))
        _caption(brush, f"SEEDREAM {drawing.number}.{index + 1}  {digest.hex()[:8]}", (unit, size[1] - 2 * unit), unit)
        if drawing.wanted.watermark:
            _caption(brush, "AI", (size[0] - 3 * unit, size[1] - 2 * unit), unit)
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


def _place(canvas: Image, references: tuple[str, ...], area: tuple[int, int, int, int], *, mirrored: bool) -> None:
    """Place the references in a grid."""
    from PIL import Image, ImageOps

    left, top, right, bottom = area
    columns = 1 if len(references) == 1 else 2 if len(references) <= 4 else 4  # noqa: PLR2004 - a grid that looks well
    rows = -(-len(references) // columns)
    cell = (max(1, (right - left) // columns), max(1, (bottom - top) // rows))
    for number, path in enumerate(references):
        with Image.open(path) as opened:
            opened.draft("RGB", cell)
            photo = ImageOps.fit(ImageOps.exif_transpose(opened).convert("RGB"), cell)
        spot = (left + number % columns * cell[0], top + number // columns * cell[1])
        canvas.paste(ImageOps.mirror(photo) if mirrored else photo, spot)


def _gradient(canvas: Image, area: tuple[int, int, int, int], turn: int) -> None:
    from PIL import Image, ImageOps

    left, top, right, bottom = area
    size = (max(1, right - left), max(1, bottom - top))
    shade = Image.linear_gradient("L").rotate(turn % 4 * 90).resize(size)
    canvas.paste(
        ImageOps.colorize(shade, f"hsl({turn}, 60%, 25%)", f"hsl({(turn + 120) % 360}, 70%, 75%)"), (left, top)
    )


def _marks(brush: ImageDraw, digest: bytes, area: tuple[int, int, int, int]) -> None:
    """Draw a row of colours that only this prompt gives."""
    left, top, right, bottom = area
    step = (right - left) / _MARKS
    for number, value in enumerate(digest[:_MARKS]):
        spot = (left + number * step, top, left + (number + 1) * step - 1, bottom)
        brush.rectangle(spot, fill=f"hsl({value * 360 // 256}, 80%, {40 + value % 5 * 8}%)")


def _caption(brush: ImageDraw, text: str, spot: tuple[int, int], unit: int) -> None:
    from PIL import ImageFont

    size = max(8, int(unit * 1.2))
    brush.text(spot, text, "white", ImageFont.load_default(size), stroke_width=1, stroke_fill="black")
