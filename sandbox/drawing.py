"""Parts of the pictures that the stand-ins of vendors draw: grids of pictures, colours of a prompt, captions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

__all__ = ["caption", "gradient", "marks", "place", "turned"]

_MARKS: Final = 24


def place(canvas: Image, paths: tuple[str, ...], area: tuple[int, int, int, int], *, mirrored: bool) -> None:
    """Place pictures in a grid over an area (left, top, right, bottom), in their order."""
    from PIL import Image, ImageOps

    left, top, right, bottom = area
    columns = 1 if len(paths) == 1 else 2 if len(paths) <= 4 else 4  # noqa: PLR2004 - a grid that looks well
    rows = -(-len(paths) // columns)
    cell = (max(1, (right - left) // columns), max(1, (bottom - top) // rows))
    for number, path in enumerate(paths):
        with Image.open(path) as opened:
            opened.draft("RGB", cell)
            # From the top on, because heads are there.
            photo = ImageOps.fit(ImageOps.exif_transpose(opened).convert("RGB"), cell, centering=(0.5, 0.0))
        spot = (left + number % columns * cell[0], top + number // columns * cell[1])
        canvas.paste(ImageOps.mirror(photo) if mirrored else photo, spot)


def gradient(canvas: Image, area: tuple[int, int, int, int], turn: int) -> None:
    """Fill an area with a gradient whose colours depend on `turn`, in degrees."""
    from PIL import Image, ImageOps

    left, top, right, bottom = area
    size = (max(1, right - left), max(1, bottom - top))
    shade = Image.linear_gradient("L").rotate(turn % 4 * 90).resize(size)
    canvas.paste(
        ImageOps.colorize(shade, f"hsl({turn}, 60%, 25%)", f"hsl({(turn + 120) % 360}, 70%, 75%)"), (left, top)
    )


def marks(brush: ImageDraw, digest: bytes, area: tuple[int, int, int, int]) -> None:
    """Draw a row of colours that only this digest, of a prompt, gives."""
    left, top, right, bottom = area
    step = (right - left) / _MARKS
    for number, value in enumerate(digest[:_MARKS]):
        spot = (left + number * step, top, left + (number + 1) * step - 1, bottom)
        brush.rectangle(spot, fill=f"hsl({value * 360 // 256}, 80%, {40 + value % 5 * 8}%)")


def caption(brush: ImageDraw, text: str, spot: tuple[int, int], unit: int) -> None:
    """Write a text, white with an edge; `unit` is about the height of its letters."""
    from PIL import ImageFont

    size = max(8, int(unit * 1.2))
    brush.text(spot, text, "white", ImageFont.load_default(size), stroke_width=1, stroke_fill="black")


def turned(picture: Image, degrees: float) -> Image:
    """Return a picture turned about its middle, of the same size; a blurred copy fills the corners."""
    from PIL import Image, ImageFilter, ImageOps

    edge = max(picture.size) // 6
    # A quarter of the size is enough for what is blurred, and a fraction of the work.
    small = (max(1, (picture.width + 2 * edge) // 4), max(1, (picture.height + 2 * edge) // 4))
    backdrop = ImageOps.fit(picture, small).filter(ImageFilter.GaussianBlur(max(1, edge // 16)))
    share = (small[0] / (picture.width + 2 * edge), small[1] / (picture.height + 2 * edge))
    box = (edge * share[0], edge * share[1], (edge + picture.width) * share[0], (edge + picture.height) * share[1])
    backdrop = backdrop.resize(picture.size, Image.Resampling.BILINEAR, box=box)
    whole = Image.new("L", picture.size, 255)
    mask = whole.rotate(degrees, Image.Resampling.BILINEAR)
    backdrop.paste(picture.rotate(degrees, Image.Resampling.BILINEAR), mask=mask)
    return backdrop
