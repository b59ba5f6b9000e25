"""The picture service: the result of each rule, and refused rules."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from sandbox.cos.ci.pictures import BadPicture, UnknownOperation, describe, examine, process, quality_of

PORTRAIT = Path(__file__).parents[3] / "sandbox" / "photos" / "portrait.jpg"
ORIENTATION = 0x0112


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def opened(body: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(body))
    image.load()
    return image


def two_halves(mode: str = "RGB", size: tuple[int, int] = (40, 20)) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, "red")
    image.paste("blue", (size[0] // 2, 0, *size))
    return image.convert(mode)


def with_orientation(value: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = value
    return encoded(two_halves(), "jpeg", exif=exif, quality=95)


def near(pixel: object, expected: tuple[int, ...]) -> bool:
    assert isinstance(pixel, tuple)
    return all(abs(one - other) < 40 for one, other in zip(pixel, expected, strict=True))


RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.mark.parametrize(
    ("rule", "form", "size"),
    [
        ("imageMogr2/thumbnail/!50p/format/webp/quality/80", "webp", (256, 256)),
        ("imageMogr2/thumbnail/100x/format/png", "png", (100, 100)),
        ("imageMogr2/thumbnail/x64", "jpeg", (64, 64)),
        ("imageMogr2/thumbnail/2048x2048>", "jpeg", (512, 512)),
        ("imageMogr2/thumbnail/90x30!/format/gif", "gif", (90, 30)),
        ("imageMogr2/auto-orient/thumbnail/300x200>/format/jpg/quality/90/strip", "jpeg", (200, 200)),
        ("imageMogr2/thumbnail/100x|imageMogr2/thumbnail/!50p/format/png", "png", (50, 50)),
        ("imageMogr2/cut/100x50x10x20", "jpeg", (100, 50)),
        ("imageMogr2/cut/100x50x500x500", "jpeg", (12, 12)),
        ("imageMogr2/crop/300x200/gravity/center", "jpeg", (300, 200)),
        ("imageMogr2/thumbnail/!300x200r|imageMogr2/crop/300x200/gravity/center", "jpeg", (300, 200)),
        ("imageMogr2/thumbnail/300x200/pad/1", "jpeg", (300, 200)),
        ("imageMogr2/thumbnail/300x200/pad/0", "jpeg", (200, 200)),
        ("imageMogr2/format/png|watermark/2/text/aGk=", "png", (512, 512)),
        ("watermark/2/text/aGk/fontsize/40/gravity/north|imageMogr2/format/webp", "webp", (512, 512)),
        ("ci-process=GoodsMatting", "png", (512, 512)),
        ("ci-process=AIPicMatting&center-layout=0", "png", (512, 512)),
        ("ci-process=AIPortraitMatting&center-layout=1&padding-layout=20x10", "png", (450, 430)),
    ],
)
def test_a_rule_makes_the_format_and_size_it_says(rule: str, form: str, size: tuple[int, int]) -> None:
    picture = process(PORTRAIT.read_bytes(), rule)
    assert (picture.format, picture.width, picture.height) == (form, *size)
    assert opened(picture.body).size == size
    assert describe(picture.body) == (form, *size)


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "imageMogr2",
        "imageMogr2/",
        "imageMogr2/thumbnail",
        "imageMogr2/thumbnail/",
        "imageMogr2/thumbnail/0x10",
        "imageMogr2/thumbnail/10x10?",
        "imageMogr2/thumbnail/x",
        "imageMogr2/thumbnail/10x/thumbnail/20x",
        "imageMogr2/format/tiff",
        "imageMogr2/quality/101",
        "imageMogr2/quality/high",
        "imageMogr2/size-limit/500",
        "imageMogr2/size-limit/0k",
        "imageMogr2/size-limit/10k/format/png",
        "imageMogr2/ignore-error/1",
        "imageMogr2/rotate/90",
        "imageMogr2/strip/",
        "imageView2/1/w/100",
        "watermark/1/image/aHR0cDovL3g",
        "watermark/2/text/a*k=",
        "watermark/2/text/_w",
        "watermark/2/fontsize/20",
        "watermark/2/text/aGk/text/aGk",
        "watermark/2/text/aGk/fontsize/0",
        "watermark/2/text/aGk/fontsize/large",
        "watermark/2/text/aGk/dissolve/101",
        "watermark/2/text/aGk/fill/cmVk",
        "watermark/2/text/aGk/gravity/middle",
        "watermark/2/text/aGk/font/dGFob21hLnR0Zg",
        "watermark/2/text/aGk/strip",
        "imageMogr2/pad/1",
        "imageMogr2/thumbnail/10x10/pad/2",
        "imageMogr2/thumbnail/10x10>/pad/1",
        "imageMogr2/thumbnail/10x/pad/1",
        "imageMogr2/thumbnail/10x10/color/I0ZGRkZGRg",
        "imageMogr2/thumbnail/10x10/pad/1/color/cmVk",
        "imageMogr2/cut/10x10",
        "imageMogr2/cut/0x10x0x0",
        "imageMogr2/crop/10",
        "imageMogr2/crop/10x10/gravity/middle",
        "imageMogr2/gravity/center",
        "imageMogr2/crop/10x10/thumbnail/10x10",
        "|".join(["imageMogr2/strip"] * 11),
        "ci-process=AIEnhanceImage",
        "ci-process=GoodsMatting&detect-url=http://x",
        "ci-process=GoodsMatting&padding-layout=wide",
        "ci-process=GoodsMatting|imageMogr2/format/jpg",
    ],
)
def test_an_unknown_operation_is_refused(rule: str) -> None:
    with pytest.raises(UnknownOperation):
        process(PORTRAIT.read_bytes(), rule)


@pytest.mark.parametrize(
    ("orientation", "size", "red_at"),
    [
        (1, (40, 20), (2, 10)),
        (2, (40, 20), (37, 10)),
        (3, (40, 20), (37, 10)),
        (4, (40, 20), (2, 10)),
        (5, (20, 40), (10, 2)),
        (6, (20, 40), (10, 2)),
        (7, (20, 40), (10, 37)),
        (8, (20, 40), (10, 37)),
    ],
)
def test_auto_orient_turns_the_picture_as_its_exif_says(
    orientation: int, size: tuple[int, int], red_at: tuple[int, int]
) -> None:
    picture = process(with_orientation(orientation), "imageMogr2/auto-orient/format/png")
    image = opened(picture.body)
    assert (picture.width, picture.height) == image.size == size
    assert near(image.getpixel(red_at), RED)
    assert near(image.getpixel((size[0] - 1 - red_at[0], size[1] - 1 - red_at[1])), BLUE)
    assert image.getexif().get(ORIENTATION, 1) == 1


def test_without_auto_orient_exif_stays_so_that_viewers_turn_the_picture() -> None:
    kept = process(with_orientation(6), "imageMogr2/thumbnail/!50p")
    assert (kept.width, kept.height) == (20, 10)
    assert opened(kept.body).getexif()[ORIENTATION] == 6
    stripped = process(with_orientation(6), "imageMogr2/strip")
    assert ORIENTATION not in opened(stripped.body).getexif()


def test_the_thumbnail_is_measured_after_turning() -> None:
    picture = process(with_orientation(6), "imageMogr2/thumbnail/10x/auto-orient")
    assert (picture.width, picture.height) == (10, 20)


def test_a_jpeg_of_a_transparent_picture_is_white_where_nothing_was() -> None:
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 4, 8))
    jpeg = opened(process(encoded(image, "png"), "imageMogr2/format/jpg/quality/95!").body)
    assert near(jpeg.getpixel((1, 4)), BLUE)
    assert near(jpeg.getpixel((6, 4)), (255, 255, 255))


def test_alpha_survives_where_the_format_has_it() -> None:
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    for form in ("png", "webp"):
        picture = opened(process(encoded(image, "png"), f"imageMogr2/format/{form}").body)
        assert picture.convert("RGBA").getchannel("A").getextrema() == (0, 0)


def test_a_palette_with_a_transparent_colour_keeps_it() -> None:
    image = two_halves("P")
    data = encoded(image, "png", transparency=image.getpixel((0, 0)))
    alpha = opened(process(data, "imageMogr2/strip").body).convert("RGBA").getchannel("A")
    assert (alpha.getpixel((2, 2)), alpha.getpixel((38, 2))) == (0, 255)


def test_cmyk_becomes_rgb_and_loses_the_profile_of_its_inks() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(two_halves("CMYK"), "jpeg", quality=95, icc_profile=profile)
    for form in ("jpg", "png", "webp"):
        image = opened(process(data, f"imageMogr2/format/{form}/quality/95").body)
        assert image.mode == "RGB"
        assert near(image.getpixel((5, 10)), RED)
        assert near(image.getpixel((35, 10)), BLUE)
        assert "icc_profile" not in image.info


def test_a_colour_profile_stays_unless_stripped() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(two_halves(), "jpeg", icc_profile=profile)
    assert opened(process(data, "imageMogr2/thumbnail/10x").body).info["icc_profile"] == profile
    assert "icc_profile" not in opened(process(data, "imageMogr2/thumbnail/10x/strip").body).info


def test_sixteen_bit_grey_keeps_its_brightness() -> None:
    image = Image.new("I;16", (4, 4), 0x8000)
    grey = opened(process(encoded(image, "png"), "imageMogr2/format/png").body)
    assert grey.getpixel((1, 1)) == (0x80, 0x80, 0x80)


def test_bilevel_and_grey_pictures_are_taken() -> None:
    for mode in ("1", "L", "LA"):
        assert process(encoded(two_halves(mode), "png"), "imageMogr2/format/webp").format == "webp"


@pytest.mark.parametrize("form", ["gif", "webp"])
def test_an_animation_stays_one_or_becomes_its_first_frame(form: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "lime")]
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:], duration=100, quality=95)
    moved = opened(process(data, "imageMogr2/thumbnail/8x").body)
    assert (moved.size, getattr(moved, "n_frames", 1)) == ((8, 8), 3)
    still = opened(process(data, "imageMogr2/format/jpg/quality/95").body)
    assert near(still.getpixel((8, 8)), RED)


def test_an_animated_png_counts_as_its_still_picture() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "png", save_all=True, append_images=frames[1:], duration=100)
    still = opened(process(data, "imageMogr2/strip").body)
    assert getattr(still, "n_frames", 1) == 1
    assert near(still.getpixel((8, 8)), RED)


def test_a_cut_out_has_real_alpha() -> None:
    cut = opened(process(PORTRAIT.read_bytes(), "ci-process=GoodsMatting").body)
    alpha = cut.getchannel("A")
    assert (alpha.getpixel((1, 1)), alpha.getpixel((256, 256))) == (0, 255)


def test_a_cut_out_is_turned_upright() -> None:
    picture = process(with_orientation(6), "ci-process=GoodsMatting")
    assert (picture.width, picture.height) == (20, 40)


def test_size_limit_is_kept_with_the_best_quality_that_keeps_it() -> None:
    data = PORTRAIT.read_bytes()
    picture = process(data, "imageMogr2/size-limit/20k")
    assert 15 << 10 < len(picture.body) <= 20 << 10


def test_size_limit_that_no_quality_keeps_gives_the_smallest() -> None:
    data = PORTRAIT.read_bytes()
    assert process(data, "imageMogr2/size-limit/1k") == process(data, "imageMogr2/quality/1")


def test_size_limit_with_an_exclamation_mark_hands_back_a_smaller_original() -> None:
    small = encoded(two_halves(), "jpeg", quality=5)
    picture = process(small, "imageMogr2/quality/100!/size-limit/900k!")
    assert picture.body == small


def test_quality_never_rises_above_the_originals_unless_forced() -> None:
    low = encoded(Image.open(PORTRAIT), "jpeg", quality=40)
    assert quality_of(low) == 40
    assert quality_of(process(low, "imageMogr2/quality/90").body) == 40
    assert quality_of(process(low, "imageMogr2/quality/30").body) == 30
    assert quality_of(process(low, "imageMogr2/quality/90!").body) == 90


def test_examine_tells_what_ci_tells() -> None:
    found = examine(with_orientation(6))
    assert (found.format, found.width, found.height, found.orientation, found.quality) == ("jpeg", 40, 20, 6, 95)
    red, green, blue = bytes.fromhex(found.average[2:])
    assert (abs(red - 128) < 8, green < 8, abs(blue - 128) < 8) == (True, True, True)


def bomb(width: int, height: int) -> bytes:
    """A PNG of that size in a few bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(50_001, 1), (1, 50_001), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_by_its_header(width: int, height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_decoding(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Image, "Image", no_decoding)
    for refused in (describe, examine, lambda data: process(data, "imageMogr2/thumbnail/10x")):
        with pytest.raises(BadPicture, match="over the limit"):
            refused(bomb(width, height))


@pytest.mark.parametrize("form", ["jpeg", "png", "bmp"])
def test_pillows_own_bound_neither_warns_nor_refuses(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow warns above 89 million pixels and refuses above twice that; CI takes 250 million."""
    data = encoded(two_halves(), form)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(Image.DecompressionBombError):
        opened(data)
    assert process(data, "imageMogr2/thumbnail/10x").width == 10
    assert examine(data).width == 40
    assert process(data, "ci-process=GoodsMatting&center-layout=1").format == "png"


@pytest.mark.parametrize(("form", "side"), [("gif", 9_000), ("webp", 13_500)])
def test_what_pillow_would_warn_of_or_refuse_is_refused_first(form: str, side: int) -> None:
    data = bytearray(SAMPLES[form])
    if form == "gif":
        data[6:10] = struct.pack("<HH", side, side)
    else:
        data[21:25] = struct.pack("<I", (side - 1) | (side - 1) << 14)
    with pytest.raises(BadPicture, match="over the limit"):
        process(bytes(data), "imageMogr2/thumbnail/10x")


def test_too_many_bytes_are_refused() -> None:
    with pytest.raises(BadPicture, match="over the limit"):
        process(PORTRAIT.read_bytes() + bytes(32 << 20), "imageMogr2/strip")


def test_the_pixels_of_an_animation_are_counted_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.cos.ci.pictures.MAX_PIXELS", 40 * 20 * 2)
    assert describe(SAMPLES["gif"]) == ("gif", 40, 20)
    monkeypatch.setattr("sandbox.cos.ci.pictures.MAX_PIXELS", 40 * 20 * 2 - 1)
    with pytest.raises(BadPicture, match="over the limit"):
        describe(SAMPLES["gif"])


def test_a_result_beyond_the_limits_is_refused() -> None:
    with pytest.raises(BadPicture, match="over the limit"):
        process(PORTRAIT.read_bytes(), "imageMogr2/thumbnail/!9999999p")
    with pytest.raises(BadPicture, match="over the limit"):
        process(encoded(Image.new("L", (20_000, 10)), "png"), "imageMogr2/format/webp")


SAMPLES = {
    "jpeg": encoded(two_halves(), "jpeg", exif=b"Exif\x00\x00MM\x00\x2a"),
    "progressive": encoded(two_halves(), "jpeg", progressive=True),
    "png": encoded(two_halves("RGBA"), "png"),
    "gif": encoded(two_halves(), "gif", save_all=True, append_images=[two_halves().rotate(180)], duration=90),
    "webp": encoded(two_halves(), "webp", lossless=True),
    "lossy": encoded(two_halves(), "webp"),
    "animated": encoded(two_halves(), "webp", save_all=True, append_images=[two_halves().rotate(180)], duration=90),
    "bmp": encoded(two_halves(), "bmp"),
}


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_truncated_picture_is_refused(sample: str) -> None:
    data = SAMPLES[sample]
    process(data, "imageMogr2/format/png")
    for cut in (*range(0, len(data), max(1, len(data) // 97)), *range(len(data) - 9, len(data))):
        with pytest.raises(BadPicture):
            process(data[:cut], "imageMogr2/format/png")


@given(
    data=st.sampled_from(sorted(SAMPLES)).map(SAMPLES.__getitem__),
    wounds=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
    rule=st.sampled_from(["imageMogr2/auto-orient/format/jpg", "imageMogr2/thumbnail/7x", "ci-process=GoodsMatting"]),
)
@settings(max_examples=150, deadline=None)
def test_wounded_pictures_are_processed_or_refused_and_nothing_else(
    data: bytes, wounds: list[tuple[float, int]], rule: str
) -> None:
    wounded = bytearray(data)
    for place, value in wounds:
        wounded[int(place * len(wounded))] = value
    try:
        picture = process(bytes(wounded), rule)
    except BadPicture:
        return
    assert opened(picture.body).size == (picture.width, picture.height)


@given(st.binary(max_size=200))
def test_other_bytes_are_no_picture(data: bytes) -> None:
    for head in (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\x10\x00\x00\x00WEBP", b"BM"):
        with pytest.raises(BadPicture):
            process(head + data, "imageMogr2/strip")


# ---- parts and watermarks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["imageMogr2/cut/10x10x512x0", "imageMogr2/crop/513x10", "imageMogr2/crop/10x513"])
def test_a_part_outside_of_the_picture_is_refused(rule: str) -> None:
    with pytest.raises(BadPicture):
        process(PORTRAIT.read_bytes(), rule)


def test_a_cut_keeps_the_part_that_it_names_of_the_upright_picture() -> None:
    red = opened(process(with_orientation(3), "imageMogr2/auto-orient/cut/10x10x30x0/format/png").body)
    assert red.size == (10, 10)
    assert near(red.getpixel((5, 5)), RED)
    blue = opened(process(with_orientation(3), "imageMogr2/auto-orient/cut/10x10x0x0/format/png").body)
    assert near(blue.getpixel((5, 5)), BLUE)


@pytest.mark.parametrize(("gravity", "colour"), [("west", RED), ("east", BLUE)])
def test_a_crop_keeps_the_side_that_its_gravity_names(gravity: str, colour: tuple[int, int, int]) -> None:
    data = encoded(two_halves("RGB"), "png")
    part = opened(process(data, f"imageMogr2/crop/10x20/gravity/{gravity}").body)
    assert near(part.getpixel((5, 10)), colour)


@pytest.mark.parametrize("form", ["png", "gif"])
def test_a_padded_picture_stands_in_the_middle_of_its_box(form: str) -> None:
    data = encoded(two_halves("RGB"), form)
    made = opened(process(data, "imageMogr2/thumbnail/40x40/pad/1/color/IzAwODAwMA").body).convert("RGB")
    assert made.size == (40, 40)
    corners = {made.getpixel(spot) for spot in ((0, 0), (39, 9), (0, 30), (39, 39))}
    assert len(corners) == 1
    assert near(corners.pop(), (0, 128, 0))
    assert near(made.getpixel((5, 20)), RED)
    assert near(made.getpixel((35, 20)), BLUE)


def inked(picture: Image.Image, box: tuple[int, int, int, int]) -> int:
    """Pixels of a box that are not black."""
    return sum(picture.convert("L").crop(box).histogram()[64:])


@pytest.mark.parametrize(
    ("gravity", "box"),
    [("northwest", (0, 0, 200, 100)), ("southeast", (200, 100, 400, 200)), ("center", (100, 50, 300, 150))],
)
def test_a_watermark_stands_where_its_gravity_says(gravity: str, box: tuple[int, int, int, int]) -> None:
    data = encoded(Image.new("RGB", (400, 200)), "png")
    rule = f"watermark/2/text/QUnnlJ_miJA/fontsize/40/fill/I0ZGRkZGRg/gravity/{gravity}/dx/10/dy/10"
    marked = opened(process(data, rule).body)
    assert marked.size == (400, 200)
    assert inked(marked, box) == inked(marked, (0, 0, 400, 200)) > 500


def test_a_watermark_leaves_transparency_alone() -> None:
    data = encoded(Image.new("RGBA", (100, 50), (0, 0, 0, 0)), "png")
    marked = opened(process(data, "watermark/2/text/aGk/fontsize/20/fill/I0ZGRkZGRg/gravity/center").body)
    assert marked.mode == "RGBA"
    assert marked.getchannel("A").getpixel((0, 0)) == 0
    assert marked.getchannel("A").getextrema()[1] > 200
