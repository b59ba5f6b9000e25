"""Pictures of vendors leave with labels of AI-made content; nothing else does."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
from PIL import Image, ImageChops
from PIL.PngImagePlugin import PngInfo

from messages.keys import RunId
from recipes.model_pose12 import MODEL_POSE12
from recipes.recipe import Plan as Finish
from recipes.table import RECIPES
from sandbox.video import encode
from services.media.ai_labels import AiLabels
from tasks.ledger.records import Verdict
from telemetry.secrets import Secret
from tests.engine.harness import Harness
from tests.engine.standins import Plan
from tests.support.ai_label import label_in

SECRET = Secret("a secret of the labels in tests, long")
VENDOR = '{"Label":"1","ContentProducer":"vendor"}'
SIZE = (200, 300)
FORMS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}


def picture(form: str = "PNG", colour: str = "teal", **options: Any) -> bytes:
    saved = io.BytesIO()
    Image.new("RGB", SIZE, colour).save(saved, form, **options)
    return saved.getvalue()


def labels(*, visible: bool = True) -> AiLabels:
    return AiLabels("示例公司", "", SECRET, visible=visible)


async def made(harness: Harness, body: bytes, *, visible: bool = True, **recipe: Any) -> tuple[RunId, Verdict, bytes]:
    """Sell two pictures that the vendor makes from `body`; returns the first result."""
    harness.out = dataclasses.replace(harness.out, labels=labels(visible=visible))
    harness.recipes = {**RECIPES, "model_pose12": msgspec.structs.replace(MODEL_POSE12, count=2, **recipe)}
    harness.out = dataclasses.replace(harness.out, recipes=harness.recipes)
    harness.engine = harness.new_engine()
    harness.files.png = body
    harness.vendor.plans.append(Plan(type="png", files=2))
    run = await harness.order()
    await harness.drain()
    verdict = await harness.promise(run, "success")
    return run, verdict, (await harness.data.get(verdict.manifest[0].target)).body


def corner(body: bytes) -> tuple[int, int, int, int] | None:
    """The box around the letters in a plain picture."""
    with Image.open(io.BytesIO(body)) as found:
        plain = found.convert("RGB")
    ground = Image.new("RGB", plain.size, plain.getpixel((plain.width - 1, plain.height - 1)))  # type: ignore[arg-type]
    return ImageChops.difference(plain, ground).convert("L").point(lambda value: 255 * (value > 60)).getbbox()


@pytest.mark.parametrize("extension", FORMS)
@pytest.mark.parametrize("visible", [True, False])
@pytest.mark.parametrize("given", ["PNG", "JPEG"])
async def test_every_result_carries_the_metadata_label(
    harness: Harness,
    extension: str,
    visible: bool,  # noqa: FBT001 - a parameter of the test
    given: str,
) -> None:
    run, verdict, _ = await made(harness, picture(given), visible=visible, extension=extension)
    for item in verdict.manifest:
        body = (await harness.data.get(item.target)).body
        label = label_in(body)
        assert label["ProduceID"] == f"{run.task}-0-0-{item.target.rpartition('/')[2]}"
        assert (label["Label"], label["ContentProducer"]) == ("1", "示例公司")
        assert labels().is_ours(label)
        with Image.open(io.BytesIO(body)) as found:
            assert (found.format, found.size) == (FORMS[extension], SIZE)
        assert (corner(body) is not None) is visible


async def test_the_visible_label_stands_in_the_upper_left_and_is_large_enough(harness: Harness) -> None:
    _, _, body = await made(harness, picture())
    left, top, right, bottom = corner(body) or (0, 0, 0, 0)
    assert bottom - top >= 0.05 * min(SIZE)
    assert right < SIZE[0] / 2
    assert bottom < SIZE[1] / 5
    assert left > 0
    assert top > 0


@pytest.mark.parametrize("colour", ["white", "black", "#808080"])
async def test_it_is_readable_on_any_ground(harness: Harness, colour: str) -> None:
    _, _, body = await made(harness, picture(colour=colour))
    assert corner(body) is not None


async def test_a_recipe_that_changes_the_size_gets_letters_for_the_new_one(harness: Harness) -> None:
    def finish(_: Any) -> Finish:
        return Finish(("imageMogr2/thumbnail/!300p",), "jpg")

    _, _, body = await made(harness, picture(), finish=finish)
    _, top, _, bottom = corner(body) or (0, 0, 0, 0)
    assert bottom - top >= 0.05 * 3 * min(SIZE)


async def test_a_recipe_s_own_passes_come_before_the_labels(harness: Harness) -> None:
    def finish(_: Any) -> Finish:
        return Finish(("imageMogr2/thumbnail/200x/format/png", "|".join(["imageMogr2/thumbnail/!99p"] * 9)), "jpg")

    _, _, body = await made(harness, picture(), finish=finish)
    assert label_in(body)["Label"] == "1"
    assert corner(body) is not None


async def test_a_label_of_the_vendor_s_is_kept_as_it_is(harness: Harness) -> None:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", f"<x:xmpmeta><TC260:AIGC>{VENDOR}</TC260:AIGC></x:xmpmeta>")
    for extension in FORMS:
        _, _, body = await made(harness, picture(pnginfo=info), extension=extension)
        assert label_in(body) == {"Label": "1", "ContentProducer": "vendor"}
        assert corner(body) is not None


async def test_a_vendor_s_source_type_stays_beside_our_label(harness: Harness) -> None:
    source = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", f"<x:xmpmeta>{source}</x:xmpmeta>")
    _, _, body = await made(harness, picture(pnginfo=info))
    assert labels().is_ours(label_in(body))
    assert source.encode() in body


async def test_a_file_that_only_the_picture_service_reads_is_labelled_too(harness: Harness) -> None:
    _, _, body = await made(harness, picture("GIF"))
    assert labels().is_ours(label_in(body))
    assert corner(body) is not None


async def test_a_picture_that_lies_on_its_side_is_turned_before_it_is_labelled(harness: Harness) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    _, _, body = await made(harness, picture("JPEG", exif=exif))
    with Image.open(io.BytesIO(body)) as found:
        assert (found.size, found.getexif().get(0x0112, 1)) == (SIZE[::-1], 1)
    assert corner(body) is not None


async def test_what_is_audited_bears_the_labels(harness: Harness) -> None:
    seen: list[bytes] = []
    inner = harness.data._audit

    def audit(key: str, body: bytes) -> Any:
        if "frame_" in key:
            seen.append(body)
        return inner(key, body)  # type: ignore[misc]

    harness.data._audit = audit
    await made(harness, picture())
    assert len(seen) == 2
    assert all(label_in(body) and corner(body) for body in seen)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("videos") / "made.mp4"
    encode([Image.new("RGB", (64, 48), (n * 20, 90, 160)) for n in range(6)], path)
    return path.read_bytes()


@pytest.mark.parametrize("sized", [True, False])
async def test_a_video_carries_the_metadata_label_and_its_still_both(
    harness: Harness,
    video: bytes,
    sized: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async def answer(_: httpx.Request) -> httpx.Response:
        headers = {"Content-Type": "video/mp4", **({"Content-Length": str(len(video))} if sized else {})}
        return httpx.Response(200, headers=headers, stream=Body(video))

    harness.files._answer = answer  # type: ignore[method-assign]
    harness.vendor.plans.append(Plan(type="mp4", files=1))
    recipe = {"count": 1, "media": "video", "extension": "mp4", "result": "video_{:02d}.{}", "still": "video_{:02d}.{}"}
    harness.recipes = {**RECIPES, "model_pose12": msgspec.structs.replace(MODEL_POSE12, **recipe)}
    harness.out = dataclasses.replace(harness.out, labels=labels(), recipes=harness.recipes)
    harness.engine = harness.new_engine()
    run = await harness.order()
    await harness.drain()
    verdict = await harness.promise(run, "success")
    shown = {item.target.rpartition("/")[2]: (await harness.data.get(item.target)).body for item in verdict.manifest}
    assert set(shown) == {"video_01.mp4", "video_01.jpg"}
    for name, body in shown.items():
        label = label_in(body)
        assert label["ProduceID"] == f"{run.task}-0-0-{name}"
        assert labels().is_ours(label)


class Body(httpx.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self._body), 500):
            yield self._body[at : at + 500]


@pytest.mark.parametrize("kind", ["basic_clean", "ai_image_preprocess"])
async def test_a_kind_without_a_vendor_gets_none(harness: Harness, kind: str) -> None:
    harness.out = dataclasses.replace(harness.out, labels=labels())
    harness.engine = harness.new_engine()
    run = await harness.order(kind)
    await harness.drain()
    verdict = await harness.promise(run, "success")
    assert label_in((await harness.data.get(verdict.manifest[0].target)).body) == {}
