"""Orders, references and limits of the client against the stand-in. Oddities: `test_oddities.py`."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from messages.codes import Code
from messages.errors import Permanent
from sandbox.ark.model import MODELS as VENDORS_MODELS
from services.errors import CreateUnknown, UploadFailed, VendorDown, VendorFull, VendorRefused
from services.vendors.ark.client import Ark
from services.vendors.ark.models import ANY_MODEL, MODELS, rules_of
from services.vendors.port import JobRequest, JobState  # noqa: F401 - the port's words
from telemetry.secrets import Secret
from tests.contract.ark.calls import create, download, fetcher, opened, order, refused
from tests.contract.runninghub.calls import Bytes

FOUR, FOUR_FIVE = "doubao-seedream-4-0-250828", "doubao-seedream-4-5-251128"
LITE, PRO = "doubao-seedream-5-0-260128", "doubao-seedream-5-0-pro-260628"
ENDPOINT = "ep-20260101000000-abcde"


async def test_several_references_are_read_in_their_order_and_seen_in_the_picture(
    store: str, standin: Any, client_for: Any, photo: bytes
) -> None:
    fetching = fetcher(standin.port)
    async with opened(client_for(standin.url)) as client:
        results = await create(client, order(store, "photo", "photo", "photo"))
        kind, body = await download(fetching, results.files[0].url)
        bare = (await download(fetching, (await create(client)).files[0].url))[1]
    await fetching.close()
    picture = Image.open(io.BytesIO(body))
    assert (kind, picture.size) == ("image/jpeg", (1024, 1024))
    assert body != bare
    assert [paid["references"] for paid in standin.core.stats()["pictures"]] == [3, 0]


@pytest.mark.parametrize("watermark", [False, True])
async def test_the_watermark_is_said_explicitly(watermark: bool, standin: Any, client_for: Any) -> None:  # noqa: FBT001 - pytest's
    async with opened(client_for(standin.url, watermark=watermark)) as client:
        await create(client)
    assert standin.core.stats()["pictures"][0]["watermark"] is watermark


@pytest.mark.parametrize("model", [FOUR, FOUR_FIVE, LITE, PRO, ENDPOINT])
async def test_each_model_takes_what_is_sent(model: str, standin: Any, client_for: Any) -> None:
    async with opened(client_for(standin.url)) as client:
        results = await create(client, order(model=model.title(), size="2k", format="png"))
    (paid,) = standin.core.stats()["pictures"]
    assert (paid["model"], paid["size"]) == (model, "2048x2048")
    assert results.files[0].url.partition("?")[0].endswith("png" if model in {LITE, PRO} else "jpeg")


SIZES: list[tuple[str, str]] = [
    (FOUR, "3K"),
    (FOUR, "900x900"),
    (FOUR, "4097x4096"),
    (FOUR, "5000x300"),
    (FOUR_FIVE, "1024x1024"),
    (FOUR_FIVE, "1K"),
    (LITE, "4K"),
    (LITE, "4096x4096"),
    (PRO, "4K"),
    (ENDPOINT, "100x100"),
    (FOUR, "big"),
    (FOUR, "1024"),
    (FOUR, "0x0"),
    (FOUR, "1024x1024; x"),
    (FOUR, "１024x1024"),
    (FOUR, "99999x99999"),
]


@pytest.mark.parametrize(("model", "size"), SIZES)
async def test_a_size_that_the_model_refuses_is_refused_before_anything_is_sent(
    model: str, size: str, standin: Any, client_for: Any
) -> None:
    async with opened(client_for(standin.url)) as client:
        error = await refused(client, VendorRefused, order(model=model, size=size))
    assert error.code is Code.BAD_PARAMETERS
    assert standin.core.stats()["creates"] == 0


@pytest.mark.parametrize(
    ("model", "size"),
    [(FOUR, "1280x720"), (FOUR, "4096x4096"), (FOUR_FIVE, "2560x1440"), (LITE, "3K"), (LITE, "3072x3386"), (PRO, "1K")],
)
async def test_sizes_at_the_edge_are_taken(model: str, size: str, standin: Any, client_for: Any) -> None:
    async with opened(client_for(standin.url)) as client:
        await create(client, order(model=model, size=size))
    assert standin.charged == 1


def test_the_rules_are_those_of_the_vendor() -> None:
    for name, model in VENDORS_MODELS.items():
        rules = rules_of(name)
        if rules is ANY_MODEL:
            continue
        assert (rules.names, rules.least_pixels, rules.most_pixels) == (set(model.names), model.least, model.most)
        assert (rules.references, rules.has_modes) == (model.references, model.has_modes)
        assert (len(rules.formats) > 1) is model.has_format


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("seedream-4-0-250828", "4-0"),
        ("doubao-seedream-4-5", "4-5"),
        ("doubao-seedream-5-0-lite-260128", "5-0"),
        ("doubao-seedream-5-0-pro-260628", "5-0-pro"),
        ("doubao-seedream-6-0-270101", ""),
        ("ep-4-0", ""),
        ("", ""),
    ],
)
def test_the_family_of_a_model(model: str, family: str) -> None:
    assert rules_of(model) is (MODELS[family] if family else ANY_MODEL)


@pytest.mark.parametrize(
    ("request_", "words", "code"),
    [
        (JobRequest("k", {}, {}), "no prompt", Code.BAD_PARAMETERS),
        (JobRequest("k", {}, {"prompt": " \n"}), "no prompt", Code.BAD_PARAMETERS),
        (JobRequest("k", {}, {"prompt": "x", "seed": "1"}), "no field for seed", Code.VENDOR_REFUSED),
        (JobRequest("k", {}, {"prompt": "x", "n": "2"}), "no field for n", Code.VENDOR_REFUSED),
        (JobRequest("k", {}, {"prompt": "x", "format": "webp"}), "neither jpeg nor png", Code.BAD_PARAMETERS),
        (JobRequest("k", {}, {"prompt": "x", "model": "a b"}), "not the id of a model", Code.BAD_PARAMETERS),
        (JobRequest("k", {"photo": "api/x.jpg"}, {"prompt": "x"}), "neither a URL nor a data URI", Code.VENDOR_REFUSED),
        (JobRequest("k", {"photo": "file:///etc"}, {"prompt": "x"}), "neither a URL nor", Code.VENDOR_REFUSED),
    ],
)
async def test_a_request_that_cannot_be_made_is_refused_before_anything_is_sent(
    request_: JobRequest, words: str, code: Code, standin: Any, client_for: Any
) -> None:
    async with opened(client_for(standin.url)) as client:
        error = await refused(client, VendorRefused, request_)
    assert words in str(error)
    assert error.code is code
    assert standin.core.stats()["creates"] == 0


@pytest.mark.parametrize(("model", "most"), [(FOUR, 10), (FOUR_FIVE, 14)])
async def test_more_references_than_the_model_takes(
    model: str, most: int, store: str, standin: Any, client_for: Any
) -> None:
    async with opened(client_for(standin.url)) as client:
        await create(client, order(store, *["photo"] * most, model=model, size="2K"))
        error = await refused(client, VendorRefused, order(store, *["photo"] * (most + 1), model=model, size="2K"))
    assert error.code is Code.BAD_PARAMETERS
    assert [paid["references"] for paid in standin.core.stats()["pictures"]] == [most]


# references inside the request


async def upload(client: Ark, body: bytes, kind: str = "image/jpeg", **more: Any) -> str:
    return await client.upload(Bytes(body, **more), filename="input.jpg", content_type=kind)


async def test_references_as_urls_are_not_uploaded(client_for: Any) -> None:
    async with opened(client_for("http://127.0.0.1:9")) as client:
        assert client.upload_limit == 0


async def test_references_inside_the_request(standin: Any, client_for: Any, photo: bytes) -> None:
    async with opened(client_for(standin.url, inputs="base64")) as client:
        assert client.upload_limit == 10 << 20
        reference = await upload(client, photo)
        assert base64.b64decode(reference.removeprefix("data:image/jpeg;base64,")) == photo
        await create(client, JobRequest("k", {"photo": reference}, {"prompt": "x", "size": "1K"}))
    assert standin.core.stats()["pictures"][0]["references"] == 1


async def test_a_reference_that_is_too_large_or_no_picture_is_refused_at_once(client_for: Any) -> None:
    async with opened(client_for("http://127.0.0.1:9", inputs="base64")) as client:
        with pytest.raises(VendorRefused) as large:
            await upload(client, b"", size=(10 << 20) + 1)
        with pytest.raises(VendorRefused) as kind:
            await upload(client, b"RIFF", "image/webp")
    assert (large.value.code, kind.value.code) == (Code.PICTURE_TOO_LARGE, Code.BAD_PICTURE)


@pytest.mark.parametrize("size", [3, 5])
async def test_a_source_that_is_not_as_long_as_it_said(size: int, client_for: Any) -> None:
    async with opened(client_for("http://127.0.0.1:9", inputs="base64")) as client:
        with pytest.raises(UploadFailed):
            await upload(client, b"1234", size=size)


# without jobs


async def test_there_are_no_jobs(client_for: Any) -> None:
    async with opened(client_for("http://127.0.0.1:9")) as client:
        assert client.find is None
        assert await client.made_for("1") == ""
        await client.cancel("1")
        with pytest.raises(VendorDown, match="no jobs"):
            await client.query("1")


# the way there


@pytest.mark.parametrize(
    "url", ["", "ark.example", "ftp://ark.example", "https://ark.example?x=1", "https://u@ark.example"]
)
def test_a_base_url_that_cannot_be_used(url: str, client_for: Callable[..., Ark]) -> None:
    with pytest.raises(Permanent):
        client_for(url)


@pytest.mark.parametrize("key", ["", "two words", "schlüssel", "line\n"])
def test_a_key_that_no_header_can_carry(key: str) -> None:
    with pytest.raises(Permanent) as error:
        Ark(base_url="https://ark.example", api_key=Secret(key), model="m")
    assert not key or key not in str(error.value)


async def test_no_connection_is_proof_that_nothing_was_sent(client_for: Any, closed_port: int) -> None:
    async with opened(client_for(f"http://127.0.0.1:{closed_port}")) as client:
        assert "nothing was sent" in str(await refused(client, VendorFull))
        with pytest.raises(VendorDown):
            await client.check_room()


async def test_a_limit_that_ends_while_connecting_is_proof_too(client_for: Any, deaf_port: int) -> None:
    # A listener that never accepts: the handshake of TLS never begins.
    async with opened(client_for(f"https://127.0.0.1:{deaf_port}")) as client:
        with pytest.raises(VendorFull, match="nothing was sent"):
            await client.create(order(), timeout=1.0)


@pytest.mark.parametrize("kind", ["error", "not_json", "cut", "hang"])
async def test_a_key_is_not_taken_by_an_answer_that_says_nothing(kind: str, standin: Any, client_for: Any) -> None:
    standin.arm("key", kind)
    standin.skip_limits()
    async with opened(client_for(standin.url)) as client:
        with pytest.raises(VendorDown):
            await client.check_room()
        await client.check_room()
        await client.check_room()
    assert standin.core.stats()["keys"] == 2


async def test_a_full_vendor_is_full_for_the_key_too(standin: Any, client_for: Any) -> None:
    standin.arm("key", code="ServerOverloaded", retry_after=7)
    async with opened(client_for(standin.url)) as client:
        with pytest.raises(VendorFull) as full:
            await client.check_room()
    assert full.value.retry_after == 7


async def test_neither_logs_nor_errors_hold_secrets(
    standin: Any, client_for: Any, store: str, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    words = f"Incorrect API key provided: {key}. See {store}/photo.jpg?sign=5161e0c3"
    async with opened(client_for(standin.url)) as client:
        for error, fault in (
            (VendorFull, {"code": "AuthenticationError", "message": words}),
            (VendorRefused, {"code": "InvalidParameter", "message": words}),
            (CreateUnknown, {"kind": "cut"}),
        ):
            standin.arm("create", **fault)
            caught = await refused(client, error, order(store, "photo", prompt="my secret prompt"))
            said.append(f"{caught} {caught!r} {caught.__cause__!r}")
    text = "\n".join([*said, caplog.text])
    for secret in (key, "5161e0c3", "my secret prompt"):
        assert secret not in text
