"""Picture processing of CI: applies rules to pictures. Pure functions that block: call them in a thread.

Sources: Tencent CI, "Basic image processing" (document 460/36540 and its siblings) for `imageMogr2/…`, "Goods matting"
(1045/72933) and "Portrait matting" (436/75232) for `ci-process=…`. Where they are silent, the stand-in uses the
stricter reading and documents it here and in `rules`:

- `auto-orient` acts first, wherever it is written; without it EXIF is kept, so that viewers rotate the picture;
- `size-limit` is refused unless the result is a JPEG; the quality is reduced as far as necessary, at the lowest to 1;
- animations stay animations in GIF and WebP, and become their first frame in other formats;
- cut-outs cannot be part of a pipeline; the subject is an ellipse in the middle, which is enough to check alpha and
  format.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from PIL import BmpImagePlugin, GifImagePlugin, Image, ImageDraw, ImageFile, JpegImagePlugin, PngImagePlugin
from PIL import WebPImagePlugin as Webp

from sandbox.cos.ci.ai_labels import write_label
from sandbox.cos.ci.containers import Container, orientation_of, read_container, upright
from sandbox.cos.ci.geometry import cropped_part, cut_part, padded_size, thumbnail_size
from sandbox.cos.ci.rules import Step, read_rule
from sandbox.cos.ci.watermarks import draw
from sandbox.cos.errors import BadPicture, UnknownOperation

__all__ = [
    "CUT_OUTS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "MAX_SIDE",
    "BadPicture",
    "Examined",
    "Picture",
    "UnknownOperation",
    "describe",
    "examine",
    "process",
    "quality_of",
]

MAX_BYTES = 32 << 20
"""Greatest size of a picture in bytes, in and out (document 460/36620)."""
MAX_SIDE = 50_000
"""Greatest length of a side in pixels."""
MAX_PIXELS = 250_000_000
"""Greatest width x height x frames."""
CUT_OUTS = ("AIPicMatting", "AIPortraitMatting", "GoodsMatting")
"""Values of `ci-process` that remove the background."""

_MAX_WEBP_SIDE = 16_383
# Below CI's limit: above these, Pillow's own readers warn (GIF, frame by frame) or refuse (WebP).
_MAX_FRAME_PIXELS = {"gif": 80_000_000, "webp": 170_000_000}
_DEFAULT_QUALITY = 85
_PNG_LEVEL = 1  # a third of the time of Pillow's own level, and files that are a tenth larger
_MAX_EXIF = 65_000  # capacity of one JPEG segment
_STANDARD_LUMINANCE_SUM = 3685  # sum of the quantization table in ITU-T T.81, annex K.1: quality 50
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = range(5, 9)  # orientations that swap width and height
_READERS: dict[str, type[ImageFile.ImageFile]] = {
    "jpeg": JpegImagePlugin.JpegImageFile,
    "png": PngImagePlugin.PngImageFile,
    "gif": GifImagePlugin.GifImageFile,
    "webp": Webp.WebPImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
}
# Exceptions of Pillow's readers on hostile bytes; any other is a defect and must show.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    EOFError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class Picture:
    """Encoded picture."""

    body: bytes
    format: str
    """Lower case: jpeg, png, webp, gif; bmp if a BMP is not converted."""
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Examined:
    """Description of an original by CI (`OriginalInfo.ImageInfo`)."""

    format: str
    width: int
    height: int
    quality: int
    """0 to 100; 100 for formats without one."""
    average: str
    """Mean colour, such as `0x8090a0`."""
    orientation: int
    """EXIF, 1 to 8."""


def describe(data: bytes) -> tuple[str, int, int]:
    """Return format (lower case), width and height from the header alone: cheap, but the rest may not decode.

    Raises:
        BadPicture: not a picture, truncated, or over the limits.
    """
    container = _admit(data)
    return container.format, container.width, container.height


def examine(data: bytes) -> Examined:
    """Decode a picture and return CI's description of an original.

    Raises:
        BadPicture: not a picture, truncated, or over the limits.
    """
    container = _admit(data)
    frame = _frames(container, first_only=True)[0]
    red, green, blue = frame.convert("RGB").resize((1, 1), Image.Resampling.BOX).tobytes()
    return Examined(
        format=container.format,
        width=container.width,
        height=container.height,
        quality=_stored_quality(container),
        average=f"0x{red:02x}{green:02x}{blue:02x}",
        orientation=orientation_of(container.exif),
    )


def quality_of(data: bytes) -> int:
    """Return the quality of a JPEG, estimated from its luminance table; 100 for other formats.

    Raises:
        BadPicture: not a picture, truncated, or over the limits.
    """
    return _stored_quality(_admit(data))


def process(data: bytes, rule: str) -> Picture:
    """Apply one rule: `imageMogr2/…` or `watermark/2/…`, several of them joined by `|`, or `ci-process=…Matting`.

    Raises:
        UnknownOperation: an unknown rule; checked before the picture.
        BadPicture: not a picture, truncated, or the picture or its result is over the limits.
    """
    if rule.startswith("ci-process="):
        return _cut_out(data, rule)
    first, *more = read_rule(rule)
    picture = _apply(first, data)
    for step in more:
        picture = _apply(step, picture.body)
    return picture


def _admit(data: bytes) -> Container:
    if len(data) > MAX_BYTES:
        raise BadPicture(f"{len(data)} bytes: over the limit", "ImageTooLarge")
    container = read_container(data)
    _check_size(container.format, container.width, container.height, container.frames)
    return container


def _check_size(form: str, width: int, height: int, frames: int) -> None:
    pixels = width * height * frames
    side = _MAX_WEBP_SIDE if form == "webp" else MAX_SIDE
    frame = _MAX_FRAME_PIXELS.get(form, MAX_PIXELS)
    if max(width, height) > side or pixels > MAX_PIXELS or width * height > frame:
        raise BadPicture(f"{width} x {height} pixels, {frames} frames: over the limit", "ImageResolutionExceed")


def _apply(step: Step, data: bytes) -> Picture:
    container = _admit(data)
    if step.label is not None:
        body = write_label(data, container.format, step.label)
        return Picture(body, container.format, container.width, container.height)
    target = step.format or container.format
    if step.limit and target != "jpeg":
        raise UnknownOperation("size-limit holds for jpg results only")
    orientation = orientation_of(container.exif) if step.orient else 1
    width, height = container.width, container.height
    if orientation in _SIDEWAYS:
        width, height = height, width
    part = _part(step, width, height)
    size = thumbnail_size(step.thumbnail, width, height) if step.thumbnail else (part[2] - part[0], part[3] - part[1])
    whole = padded_size(step.thumbnail) if step.pad else size
    animated = container.frames > 1 and target in {"gif", "webp"}
    _check_size(target, *whole, container.frames if animated else 1)
    frames = [_made(step, frame, orientation, part, size) for frame in _frames(container, first_only=not animated)]
    body = _encode_within(step, container, frames, target)
    if step.compare and len(body) >= len(data):
        return Picture(data, container.format, container.width, container.height)
    if len(body) > MAX_BYTES:
        raise BadPicture(f"a result of {len(body)} bytes: over the limit", "ImageTooLarge")
    return Picture(body, target, *whole)


def _part(step: Step, width: int, height: int) -> tuple[int, int, int, int]:
    if step.cut:
        return cut_part(step.cut, width, height)
    if step.crop:
        return cropped_part(step.crop, step.gravity, width, height)
    return 0, 0, width, height


def _made(
    step: Step, frame: Image.Image, orientation: int, part: tuple[int, int, int, int], size: tuple[int, int]
) -> Image.Image:
    """Return a frame upright, as the part that is kept, in its new size, with its watermark."""
    if step.cut or step.crop:
        turned = frame.transpose(_TURNS[orientation]) if orientation in _TURNS else frame
        made = turned.crop(part)
        made.info = frame.info
    else:
        made = _fit(frame, orientation, size)
    if step.pad:
        made = _padded(made, padded_size(step.thumbnail), step.color or "#FFFFFF")
    return draw(made, step.watermark) if step.watermark else made


def _frames(container: Container, *, first_only: bool) -> list[Image.Image]:
    try:
        with _READERS[container.format](io.BytesIO(container.clean)) as file:
            if (file.width, file.height) != (container.width, container.height):
                raise BadPicture("two headers disagree")
            frames: list[Image.Image] = []
            for index in range(1 if first_only else container.frames):
                file.seek(index)
                frames.append(_plain(file))
            return frames
    except _BROKEN as error:
        raise BadPicture("the picture cannot be decoded") from error


def _plain(file: ImageFile.ImageFile) -> Image.Image:
    """Return the frame as 8-bit RGB or RGBA; of its metadata keep colour profile, duration and loop count."""
    file.load()
    keep: dict[str | tuple[int, int], Any] = {
        name: file.info[name] for name in ("icc_profile", "duration", "loop") if file.info.get(name)
    }
    if file.mode.startswith("I"):
        plain = _eight_bits(file)
    else:
        plain = file.convert("RGBA" if file.has_transparency_data else "RGB")
    if file.mode == "CMYK":
        keep.pop("icc_profile", None)  # it describes inks; the pixels are RGB now
    plain.info = keep
    return plain


def _eight_bits(file: ImageFile.ImageFile) -> Image.Image:
    """Return the high bytes of a 16-bit grey picture."""
    words = file.convert("I;16").tobytes()
    return Image.frombytes("L", file.size, words[1::2]).convert("RGB")


def _fit(frame: Image.Image, orientation: int, size: tuple[int, int]) -> Image.Image:
    info = frame.info
    turned = frame.transpose(_TURNS[orientation]) if orientation in _TURNS else frame
    fitted = turned if turned.size == size else turned.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    fitted.info = info
    return fitted


def _padded(frame: Image.Image, size: tuple[int, int], color: str) -> Image.Image:
    """Return a frame in the middle of a box of that size and colour."""
    box = Image.new(frame.mode, size, color)
    box.paste(frame, ((size[0] - frame.width) // 2, (size[1] - frame.height) // 2))
    box.info = frame.info
    return box


def _stored_quality(container: Container) -> int:
    if container.format != "jpeg":
        return 100
    try:
        with JpegImagePlugin.JpegImageFile(io.BytesIO(container.clean)) as file:
            table = file.quantization.get(0)
    except _BROKEN as error:
        raise BadPicture("the picture cannot be decoded") from error
    if not table:
        return _DEFAULT_QUALITY
    coarseness = max(0.01, sum(table) / _STANDARD_LUMINANCE_SUM)
    return max(1, min(100, round(100 - 50 * coarseness if coarseness <= 1 else 50 / coarseness)))


def _quality(step: Step, container: Container) -> int:
    original = _stored_quality(container) if container.format == "jpeg" else None
    if step.quality is None:
        return original or _DEFAULT_QUALITY
    return step.quality if step.forced or original is None else min(step.quality, original)


def _encode_within(step: Step, container: Container, frames: list[Image.Image], target: str) -> bytes:
    """Encode with the requested quality; under a size limit, with the best quality that satisfies it."""
    exif = b"" if step.strip else container.exif
    if step.orient:
        exif = upright(exif)
    if step.strip:
        for frame in frames:
            frame.info.pop("icc_profile", None)
    best = _encode(frames, target, quality := _quality(step, container), exif)
    if not step.limit or len(best) <= step.limit:
        return best
    low, high = 1, quality - 1
    best = _encode(frames, target, low, exif)
    while low < high:
        middle = (low + high + 1) // 2
        body = _encode(frames, target, middle, exif)
        if len(body) <= step.limit:
            low, best = middle, body
        else:
            high = middle - 1
    return best


def _encode(frames: list[Image.Image], target: str, quality: int, exif: bytes) -> bytes:
    first = frames[0]
    options: dict[str, object] = {}
    if target in {"jpeg", "bmp"}:
        first = _on_white(first)
    if target in {"jpeg", "webp"}:
        options["quality"] = quality
    if target == "png":
        options["compress_level"] = _PNG_LEVEL
    if exif and len(exif) < _MAX_EXIF and target in {"jpeg", "png", "webp"}:
        options["exif"] = b"Exif\x00\x00" + exif
    if "icc_profile" in frames[0].info and target in {"jpeg", "png", "webp"}:
        options["icc_profile"] = frames[0].info["icc_profile"]
    if len(frames) > 1:
        durations = [int(frame.info.get("duration", 100)) for frame in frames]
        options |= {"save_all": True, "append_images": frames[1:], "duration": durations, "loop": 0}
    out = io.BytesIO()
    first.save(out, target, **options)
    return out.getvalue()


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white


def _cut_out(data: bytes, rule: str) -> Picture:
    options = dict(parse_qsl(rule, keep_blank_values=True))
    kind = options.pop("ci-process", "")
    centre = options.pop("center-layout", "0")
    padding = re.fullmatch(r"([0-9]{1,4})x([0-9]{1,4})", options.pop("padding-layout", "0x0"))
    if kind not in CUT_OUTS or options or centre not in {"0", "1"} or not padding:
        raise UnknownOperation(rule[:100])
    container = _admit(data)
    orientation = orientation_of(container.exif)
    size = (container.height, container.width) if orientation in _SIDEWAYS else (container.width, container.height)
    image = _fit(_frames(container, first_only=True)[0], orientation, size).convert("RGBA")
    _mask_ellipse(image)
    if centre == "1":
        image = _centred(image, int(padding[1]), int(padding[2]))
    _check_size("png", *image.size, 1)
    return Picture(_encode([image], "png", 100, b""), "png", *image.size)


def _mask_ellipse(image: Image.Image) -> None:
    width, height = image.size
    mask = Image.new("L", image.size, 0)
    box = (width // 10, height // 10, width - 1 - width // 10, height - 1 - height // 10)
    ImageDraw.Draw(mask).ellipse(box, fill=255)
    alpha = Image.new("L", image.size, 0)
    alpha.paste(image.getchannel("A"), mask=mask)
    image.putalpha(alpha)


def _centred(image: Image.Image, pad_x: int, pad_y: int) -> Image.Image:
    """Return the subject alone, with a margin around it."""
    box = image.getchannel("A").getbbox() or (0, 0, *image.size)
    wide, high = box[2] - box[0], box[3] - box[1]
    canvas = Image.new("RGBA", (wide + 2 * pad_x, high + 2 * pad_y), (0, 0, 0, 0))
    canvas.paste(image, (pad_x - box[0], pad_y - box[1]))
    return canvas
