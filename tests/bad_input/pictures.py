"""Pictures as users really send them, good and bad; each is made once."""

from __future__ import annotations

import functools
import io
import struct
import zipfile
import zlib
from typing import Any, Final

from PIL import Image

RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 160, 40), (40, 50, 210), (255, 255, 255)
SIZE: Final = (60, 40)
"""Size of `flag`: wider than high, so that its size shows a rotation too."""
ORIENTATION: Final = 0x0112
TURNED: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""EXIF orientation -> how a camera would have stored an upright picture (the inverse of what a viewer does)."""


def flag() -> Image.Image:
    """Red at the upper left, green at the upper right, blue at the lower left, white at the lower right."""
    image = Image.new("RGB", SIZE, WHITE)
    half = (SIZE[0] // 2, SIZE[1] // 2)
    image.paste(RED, (0, 0, *half))
    image.paste(GREEN, (half[0], 0, SIZE[0], half[1]))
    image.paste(BLUE, (0, half[1], half[0], SIZE[1]))
    return image


def corners(image: Image.Image) -> tuple[Any, ...]:
    """Pixels amid the four quarters: upper left, upper right, lower left, lower right."""
    width, height = image.size
    across, down = (width // 4, 3 * width // 4), (height // 4, 3 * height // 4)
    return tuple(image.getpixel((x, y)) for y in down for x in across)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def opened(body: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(body))
    image.load()
    return image


def jpeg(**options: Any) -> bytes:
    return encoded(flag(), "JPEG", quality=95, **options)


def rotated(orientation: int) -> bytes:
    """As a camera stores it: the pixels are rotated, and EXIF has the orientation."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = flag().transpose(TURNED[orientation]) if orientation in TURNED else flag()
    return encoded(image, "JPEG", quality=95, exif=exif)


def cmyk() -> bytes:
    return encoded(flag().convert("CMYK"), "JPEG", quality=95)


def see_through() -> Image.Image:
    """The flag without its lower right quarter."""
    image = flag().convert("RGBA")
    image.paste((0, 0, 0, 0), (SIZE[0] // 2, SIZE[1] // 2, *SIZE))
    return image


def palette() -> bytes:
    """A palette whose entry for the lower right quarter is transparent."""
    image = flag().quantize(8)
    return encoded(image, "PNG", transparency=image.getpixel((SIZE[0] - 1, SIZE[1] - 1)))


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _png(width: int, height: int, depth: int, colour: int, packed: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def deep_grey() -> bytes:
    """16 bits per pixel: dark on the left, light on the right."""
    line = b"\0" + struct.pack(">30H", *[0x2000] * 30) + struct.pack(">30H", *[0xE000] * 30)
    return _png(*SIZE, 16, 0, zlib.compress(line * SIZE[1]))


def deep_colour() -> bytes:
    """16 bits per channel: the colours of the flag's upper half over the whole height."""
    wide = [struct.pack(">3H", *(value * 257 for value in colour)) * 30 for colour in (RED, GREEN)]
    return _png(*SIZE, 16, 2, zlib.compress((b"\0" + b"".join(wide)) * SIZE[1]))


@functools.cache
def bomb() -> bytes:
    """30,000 x 30,000 pixels in black and white, whole and sound: 110 KB that unpack to 112 MB."""
    rows = (b"\0" + bytes(30_000 // 8)) * 1000
    packer = zlib.compressobj(9, wbits=-15)
    # One compressed block, repeated thirty times: far quicker than compressing it all.
    block = packer.compress(rows) + packer.flush(zlib.Z_FULL_FLUSH)
    check = functools.reduce(lambda check, _: zlib.adler32(rows, check), range(30), 1)
    packed = b"\x78\xda" + block * 30 + b"\x03\x00" + struct.pack(">I", check)
    return _png(30_000, 30_000, 1, 0, packed)


def animated() -> bytes:
    """Two frames: the flag, then something else."""
    return encoded(
        flag(), "WEBP", save_all=True, append_images=[Image.new("RGB", SIZE, "black")], duration=100, lossless=True
    )


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("original.jpg", jpeg())
    return out.getvalue()


TEXT: Final = "这不是图片\n".encode() * 40
HTML: Final = b"<!doctype html><html><body><img src='original.jpg'></body></html>"
PDF: Final = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n"
SVG: Final = b"<svg xmlns='http://www.w3.org/2000/svg' width='60' height='40'><rect width='60' height='40'/></svg>"
