"""Every kind of file that may be uploaded as a picture, for both kinds of work: one verdict each, the right one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from PIL import Image

from messages.codes import Code, text_of
from tests.bad_input import pictures
from tests.bad_input.pictures import BLUE, GREEN, RED, SIZE, WHITE

if TYPE_CHECKING:
    from messages.keys import RunId
    from services.objects.port import PictureRule, Processed
    from tests.bad_input.harness import TicketHarness

KINDS: Final = ("basic_clean", "model_pose12")

BAD: Final[Mapping[str, tuple[str, Callable[[], bytes], Code]]] = {
    "cut in the middle": ("original.jpg", lambda: pictures.jpeg()[:400], Code.BAD_PICTURE),
    "cut near its end": ("original.jpg", lambda: pictures.jpeg()[:-60], Code.BAD_PICTURE),
    "cut inside the header": ("original.jpg", lambda: pictures.jpeg()[:10], Code.BAD_PICTURE),
    "cut png": ("original.png", lambda: pictures.encoded(pictures.flag(), "PNG")[:-30], Code.BAD_PICTURE),
    "cut webp": ("original.webp", lambda: pictures.encoded(pictures.flag(), "WEBP")[:-10], Code.BAD_PICTURE),
    "one byte": ("original.jpg", lambda: b"\xff", Code.BAD_PICTURE),
    "text": ("original.jpg", lambda: pictures.TEXT, Code.BAD_PICTURE),
    "zip": ("original.jpg", pictures.zipped, Code.BAD_PICTURE),
    "html": ("original.jpeg", lambda: pictures.HTML, Code.BAD_PICTURE),
    "pdf": ("original.jpg", lambda: pictures.PDF, Code.BAD_PICTURE),
    "svg": ("original.png", lambda: pictures.SVG, Code.BAD_PICTURE),
    "no bytes": ("original.jpg", lambda: b"", Code.EMPTY_FILE),
    "decompression bomb": ("original.png", pictures.bomb, Code.PICTURE_TOO_LARGE),
    "33 MB": ("original.jpg", lambda: pictures.jpeg() + bytes(33 << 20), Code.PICTURE_TOO_LARGE),
}

QUARTERS: Final = (RED, GREEN, BLUE, WHITE)
SEE_THROUGH: Final = (RED, GREEN, BLUE, None)
"""None: transparent."""

USABLE: Final[Mapping[str, tuple[str, Callable[[], bytes], tuple[Any, ...]]]] = {
    "ordinary jpg": ("original.jpg", pictures.jpeg, QUARTERS),
    "jpeg": ("original.jpeg", pictures.jpeg, QUARTERS),
    "jpg under a png name": ("original.png", pictures.jpeg, QUARTERS),
    "webp under a jpg name": ("original.jpg", lambda: pictures.encoded(pictures.flag(), "WEBP"), QUARTERS),
    "gif under a jpg name": ("original.jpg", lambda: pictures.encoded(pictures.flag(), "GIF"), QUARTERS),
    "an extension in capitals": ("original.JPG", pictures.jpeg, QUARTERS),
    "JPEG in capitals": ("original.JPEG", pictures.jpeg, QUARTERS),
    "jfif": ("original.jfif", pictures.jpeg, QUARTERS),
    "png in capitals": ("original.PNG", lambda: pictures.encoded(pictures.flag(), "PNG"), QUARTERS),
    "bmp": ("original.bmp", lambda: pictures.encoded(pictures.flag(), "BMP"), QUARTERS),
    "progressive": ("original.jpg", lambda: pictures.jpeg(progressive=True), QUARTERS),
    "CMYK": ("original.jpg", pictures.cmyk, QUARTERS),
    "16 bits a grey pixel": ("original.png", pictures.deep_grey, ((32,) * 3, (224,) * 3) * 2),
    "16 bits a channel": ("original.png", pictures.deep_colour, (RED, GREEN) * 2),
    "palette with transparency": ("original.png", pictures.palette, SEE_THROUGH),
    "alpha": ("original.png", lambda: pictures.encoded(pictures.see_through(), "PNG"), SEE_THROUGH),
    "alpha in a webp": (
        "original.webp",
        lambda: pictures.encoded(pictures.see_through(), "WEBP", lossless=True),
        SEE_THROUGH,
    ),
    "animation": ("original.webp", pictures.animated, QUARTERS),
    "bytes behind its end": ("original.jpg", lambda: pictures.jpeg() + bytes(4096), QUARTERS),
    **{f"EXIF {turn}": ("original.jpg", lambda turn=turn: pictures.rotated(turn), QUARTERS) for turn in range(1, 9)},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", BAD)
async def test_what_is_no_picture_is_refused_and_refunded(harness: TicketHarness, name: str, kind: str) -> None:
    upload, make, code = BAD[name]
    run = await harness.submit(make(), name=upload, kind=kind)
    await harness.refused(run, code)
    # The same event, delivered again, changes nothing.
    assert await harness.deliver(f"input/{run.user}/{run.task}/{upload}") == {"ended": 1}
    await harness.refused(run, code)


FORMATS: Final[Mapping[str, tuple[Code, str]]] = {
    "heic": (Code.FORMAT_HEIC, "HEIC"),
    "HEIF": (Code.FORMAT_HEIC, "HEIC"),
    "avif": (Code.FORMAT_AVIF, "AVIF"),
    "tif": (Code.FORMAT_TIFF, "TIFF"),
    "TIFF": (Code.FORMAT_TIFF, "TIFF"),
    "gif": (Code.FORMAT_GIF, "GIF"),
    "mp4": (Code.FORMAT_OTHER, "JPG、PNG、WebP 或 BMP"),
    "x": (Code.FORMAT_OTHER, "JPG、PNG、WebP 或 BMP"),
}
"""Extension -> code, and what its text names."""


@pytest.mark.parametrize("extension", FORMATS)
async def test_a_format_that_cannot_be_read_ends_its_task_at_once_with_its_name(
    harness: TicketHarness, extension: str
) -> None:
    begun = harness.now()
    run = await harness.submit(pictures.jpeg(), name=f"original.{extension}")
    code, named = FORMATS[extension]
    await harness.refused(run, code)
    assert named in text_of(code)
    assert harness.now() - begun < 60


@pytest.mark.parametrize("extension", FORMATS)
async def test_nor_need_an_event_tell_of_it(harness: TicketHarness, extension: str) -> None:
    run = harness.sell()
    meta = {"kind": "basic_clean", "ticket": harness.ticket(run)}
    await harness.put(run, f"original.{extension}", pictures.jpeg(), meta)
    await harness.wake(run, "sweep")
    await harness.drain()
    await harness.refused(run, FORMATS[extension][0])


@pytest.mark.parametrize("extension", FORMATS)
async def test_an_input_of_a_task_file_of_such_a_format_is_named_too(harness: TicketHarness, extension: str) -> None:
    run = harness.sell()
    await harness.put(run, f"front.{extension}", pictures.jpeg())
    task = {"kind": "basic_clean", "ticket": harness.ticket(run), "inputs": [f"front.{extension}"]}
    await harness.deliver(await harness.put(run, "task.json", msgspec.json.encode(task)))
    code = FORMATS[extension][0]
    # A file that no kind takes is refused by its name; a video is an input of another kind.
    named = code is not Code.FORMAT_OTHER or extension == "mp4"
    await harness.refused(run, code if named else Code.BAD_PARAMETERS)


async def test_one_without_a_ticket_says_nothing_whatever_its_format(harness: TicketHarness) -> None:
    run = harness.sell()
    await harness.deliver(await harness.put(run, "original.heic", pictures.jpeg()))
    await harness.unheard(run)


@pytest.mark.parametrize("name", USABLE)
async def test_what_can_be_used_gives_the_right_picture(harness: TicketHarness, name: str) -> None:
    upload, make, expected = USABLE[name]
    run = await harness.submit(make(), name=upload)
    await harness.promise(run, "success")
    extension = upload.rpartition(".")[2].lower()
    extension = {"jpeg": "jpg", "jfif": "jpg", "bmp": "png"}.get(extension, extension)
    (key,) = await harness.outputs(run)
    assert key == f"output/{run.user}/{run.task}/result_01.{extension}"
    await assert_shows(harness, key, extension, expected)


@pytest.mark.parametrize("name", USABLE)
async def test_what_can_be_used_reaches_the_vendor_upright_and_opaque(harness: TicketHarness, name: str) -> None:
    upload, make, expected = USABLE[name]
    run = await harness.submit(make(), name=upload, kind="model_pose12")
    await harness.promise(run, "success")
    assert len(await harness.outputs(run)) == 12
    key = await cleaned_key(harness, run)
    await assert_shows(harness, key, "jpg", tuple(WHITE if colour is None else colour for colour in expected))
    assert harness.vendor.uploads[0].startswith("input.jpg image/jpeg ")


async def test_a_result_that_is_asked_for_as_jpg_has_white_where_nothing_was(harness: TicketHarness) -> None:
    body = pictures.encoded(pictures.see_through(), "PNG")
    run = await harness.submit(body, name="original.png", params={"format": "jpg"})
    await harness.promise(run, "success")
    await assert_shows(harness, f"output/{run.user}/{run.task}/result_01.jpg", "jpg", QUARTERS)


@pytest.mark.parametrize("turn", [1, 3, 6, 8])
async def test_a_subject_is_cut_out_of_a_turned_picture_upright(harness: TicketHarness, turn: int) -> None:
    run = await harness.submit(pictures.rotated(turn), params={"background": "goods"})
    await harness.promise(run, "success")
    picture = await shown(harness, f"output/{run.user}/{run.task}/result_01.png")
    assert picture.mode == "RGBA"
    assert picture.size == SIZE
    assert picture.getpixel((0, 0))[3] == 0
    assert near(picture.getpixel((SIZE[0] // 4, SIZE[1] // 4)), RED)
    assert near(picture.getpixel((3 * SIZE[0] // 4, SIZE[1] // 4)), GREEN)


async def test_a_picture_of_one_pixel_and_one_that_is_a_line_are_pictures(harness: TicketHarness) -> None:
    for size in ((1, 1), (9000, 1), (1, 9000)):
        run = await harness.submit(pictures.encoded(Image.new("RGB", size, RED), "PNG"), name="original.png")
        await harness.promise(run, "success")
        picture = await shown(harness, f"output/{run.user}/{run.task}/result_01.png")
        assert picture.size == tuple(min(4096, side) for side in size)
        assert near(picture.getpixel((0, 0)), RED)


async def test_one_bad_picture_among_several_fails_the_task_and_leaves_nothing(harness: TicketHarness) -> None:
    run = harness.sell()
    files = {"a.jpg": pictures.jpeg(), "b.jpg": pictures.TEXT, "c.png": pictures.palette()}
    for name, body in files.items():
        await harness.put(run, name, body)
    order = {"kind": "basic_clean", "inputs": [*files], "ticket": harness.ticket(run, inputs=len(files))}
    await harness.deliver(await harness.put(run, "task.json", msgspec.json.encode(order)))
    await harness.refused(run, Code.BAD_PICTURE)


async def test_what_the_service_still_works_on_when_a_task_fails_is_not_left_behind(harness: TicketHarness) -> None:
    inner = harness.data.process

    async def busy(key: str, rules: Sequence[PictureRule]) -> Processed:
        """Like a call in a thread: it runs to its end even if its caller has given up."""
        return await asyncio.shield(asyncio.ensure_future(late(key, rules)))

    async def late(key: str, rules: Sequence[PictureRule]) -> Processed:
        await asyncio.sleep(5.0 if key.endswith("a.jpg") else 0.0)
        return await inner(key, rules)

    harness.data.process = busy
    run = harness.sell()
    files = {"a.jpg": pictures.jpeg(), "b.jpg": pictures.TEXT}
    for name, body in files.items():
        await harness.put(run, name, body)
    order = {"kind": "basic_clean", "inputs": [*files], "ticket": harness.ticket(run, inputs=len(files))}
    await harness.deliver(await harness.put(run, "task.json", msgspec.json.encode(order)))
    await asyncio.sleep(60)
    await harness.refused(run, Code.BAD_PICTURE)


async def test_several_good_pictures_give_one_result_each_in_their_order(harness: TicketHarness) -> None:
    run = harness.sell()
    files = {"照片.png": pictures.palette(), "a.jpg": pictures.rotated(6), "b.webp": pictures.animated()}
    for name, body in files.items():
        await harness.put(run, name, body)
    order = {"kind": "basic_clean", "inputs": [*files], "ticket": harness.ticket(run, inputs=len(files))}
    await harness.deliver(await harness.put(run, "task.json", msgspec.json.encode(order)))
    await harness.promise(run, "success")
    stem = f"output/{run.user}/{run.task}/result"
    await assert_shows(harness, f"{stem}_01.png", "png", SEE_THROUGH)
    await assert_shows(harness, f"{stem}_02.jpg", "jpg", QUARTERS)
    await assert_shows(harness, f"{stem}_03.webp", "webp", QUARTERS)


async def cleaned_key(harness: TicketHarness, run: RunId) -> str:
    (product,) = (await harness.records(run))["cleaned"]["products"]
    key: str = product["key"]
    return key


async def shown(harness: TicketHarness, key: str) -> Image.Image:
    return pictures.opened((await harness.data.get(key)).body)


async def assert_shows(harness: TicketHarness, key: str, extension: str, expected: tuple[Any, ...]) -> None:
    """The format of its name and its Content-Type, upright, without metadata, in the right colours."""
    content = await harness.data.get(key)
    form = "jpeg" if extension == "jpg" else extension
    assert content.info.content_type == f"image/{form}"
    picture = pictures.opened(content.body)
    assert (picture.format or "").lower() == form
    assert picture.size == SIZE
    assert not picture.getexif()
    for pixel, colour in zip(pictures.corners(picture.convert("RGBA")), expected, strict=True):
        if colour is None:
            assert pixel[3] == 0
        else:
            assert near(pixel, colour), f"{pixel} is not {colour}"


def near(pixel: Any, colour: tuple[int, ...]) -> bool:
    """Opaque, and nearly equal; lossy formats and CMYK shift colours a little."""
    return (len(pixel) < 4 or pixel[3] == 255) and all(
        abs(one - other) <= 16 for one, other in zip(pixel, colour, strict=False)
    )
