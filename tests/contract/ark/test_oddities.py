"""The oddities of docs/reference/ark.md that the stand-in plays, and what the client makes of them: one test each."""

from __future__ import annotations

from typing import Any

import pytest

from messages.codes import Code
from services.errors import CreateUnknown, ResultUnusable, VendorDown, VendorFull, VendorRefused
from tests.contract.ark.calls import create, download, fetcher, opened, order, refused


async def failed(standin: Any, client_for: Any, error: type[Exception], **fault: Any) -> Any:
    """Return the error of a create with an armed fault."""
    standin.arm("create", **fault)
    async with opened(client_for(standin.url)) as client:
        return await refused(client, error)


async def test_the_answer_is_the_result(standin: Any, client_for: Any) -> None:
    async with opened(client_for(standin.url)) as client:
        results = await create(client)
    assert len(results.files) == 1
    assert results.files[0].type == "jpeg"
    assert (results.usage.pictures, results.usage.tokens_out) == (1, 4096)
    assert standin.charged == 1


@pytest.mark.parametrize(
    ("code", "wait"),
    [
        ("ModelAccountIpmRateLimitExceeded", 10.0),
        ("ModelAccountRpmRateLimitExceeded", 10.0),
        ("RateLimitExceeded.EndpointRPMExceeded", 10.0),
        ("RequestBurstTooFast", 5.0),
        ("ServerOverloaded", 10.0),
        ("InflightBatchsizeExceeded", 5.0),
    ],
)
async def test_429_of_each_kind_is_a_full_vendor(code: str, wait: float, standin: Any, client_for: Any) -> None:
    full = await failed(standin, client_for, VendorFull, code=code)
    assert code in str(full)
    assert full.retry_after == wait
    assert standin.charged == 0


async def test_429_with_retry_after_means_no_room_until_then(
    standin: Any, client_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    standin.arm("create", code="ServerOverloaded", retry_after=120)
    async with opened(client_for(standin.url)) as client:
        await client.check_room()
        assert (await refused(client, VendorFull)).retry_after == 120
        with pytest.raises(VendorFull) as no_room:
            await client.check_room()
        assert 100 < no_room.value.retry_after <= 120
        loop = asyncio.get_running_loop()
        later = loop.time() + 121
        monkeypatch.setattr(loop, "time", lambda: later)
        await client.check_room()
        monkeypatch.undo()
        assert await create(client)


async def test_429_of_the_stand_ins_own_limit_by_the_minute(standin: Any, client_for: Any) -> None:
    async with opened(client_for(standin.url)) as client:
        for _ in range(5):
            await create(client)
        standin.clock.now += 20
        full = await refused(client, VendorFull)
        assert ("Ipm" in str(full), full.retry_after) == (True, 40)
        standin.clock.now += 41
        await create(client)
    assert standin.charged == 6


async def test_quota_exceeded_of_the_queue_passes(standin: Any, client_for: Any) -> None:
    words = "The number of queued tasks exceeds the limit."
    full = await failed(standin, client_for, VendorFull, code="QuotaExceeded", message=words)
    assert full.retry_after == 30


@pytest.mark.parametrize(
    "words", ["The free trial quota of the model has been used up.", "You have reached the weekly limit of your plan."]
)
async def test_quota_exceeded_of_free_quota_or_plan_does_not_pass(
    words: str, standin: Any, client_for: Any, caplog: pytest.LogCaptureFixture
) -> None:
    gone = await failed(standin, client_for, VendorRefused, code="QuotaExceeded", message=words)
    assert gone.code is Code.VENDOR_REFUSED
    assert "vendor.account" in caplog.text


@pytest.mark.parametrize(
    "code",
    [
        "SetLimitExceeded",
        "ModelNotOpen",
        "InvalidEndpointOrModel.NotFound",
        "InvalidEndpointOrModel.ModelIDAccessDisabled",
        "InvalidEndpoint.ClosedEndpoint",
        "OperationDenied.ServiceNotOpen",
    ],
)
async def test_what_only_a_person_can_mend_is_final_and_an_alarm(
    code: str, standin: Any, client_for: Any, caplog: pytest.LogCaptureFixture
) -> None:
    final = await failed(standin, client_for, VendorRefused, code=code)
    assert final.code is Code.VENDOR_REFUSED
    assert "vendor.account" in caplog.text
    assert standin.charged == 0


async def test_a_retired_model(standin: Any, client_for: Any) -> None:
    async with opened(client_for(standin.url, model="doubao-seedream-3-0-t2i-250415")) as client:
        assert "ModelNotOpen" in str(await refused(client, VendorRefused))


@pytest.mark.parametrize(
    "code",
    ["AuthenticationError", "InvalidAccountStatus", "AccountOverdueError", "AccessDenied", "InvalidSubscription"],
)
async def test_key_and_funds_wait_for_a_person(
    code: str, standin: Any, client_for: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(client_for(standin.url)) as client:
        await client.check_room()
        standin.arm("create", code=code)
        assert code in str(await refused(client, VendorFull))
        assert "vendor.account" in caplog.text
        # The key is checked again before another call is made.
        standin.arm("key", code=code)
        with pytest.raises(VendorDown, match=code):
            await client.check_room()
        await client.check_room()
        assert await create(client)


async def test_a_wrong_key_is_found_without_a_paid_call(standin: Any, client_for: Any) -> None:
    async with opened(client_for(standin.url, key="x" * 32)) as client:
        with pytest.raises(VendorDown, match="AuthenticationError"):
            await client.check_room()
        assert "AuthenticationError" in str(await refused(client, VendorFull))
    assert standin.core.stats()["creates"] == 0


@pytest.mark.parametrize(
    "code",
    [
        "InputTextSensitiveContentDetected",
        "InputImageSensitiveContentDetected",
        "InputImageSensitiveContentDetected.PrivacyInformation",
        "InputTextSensitiveContentDetected.PolicyViolation",
        "OutputImageSensitiveContentDetected",
        "OutputImageSensitiveContentDetected.PolicyViolation",
        "SensitiveContentDetected.Violence",
        "InputTextRiskDetection",
        "InputImageRiskDetection",
        "OutputImageRiskDetection",
        "InputAudioSensitiveContentDetected",
    ],
)
@pytest.mark.parametrize("kind", ["answer", "item_error", "error_in_200"])
async def test_refused_content_is_content_wherever_it_is_said(
    code: str, kind: str, standin: Any, client_for: Any
) -> None:
    violation = await failed(standin, client_for, VendorRefused, kind=kind, code=code)
    assert violation.code is Code.CONTENT_VIOLATION
    assert standin.charged == 0


async def test_a_content_check_that_fails_itself_proves_nothing(standin: Any, client_for: Any) -> None:
    unknown = await failed(standin, client_for, CreateUnknown, code="ContentSecurityDetectionError")
    assert unknown.code is not Code.CONTENT_VIOLATION


@pytest.mark.parametrize("accepted", [False, True])
async def test_500_may_have_run(standin: Any, client_for: Any, *, accepted: bool) -> None:
    await failed(standin, client_for, CreateUnknown, code="InternalServiceError", accepted=accepted)
    assert standin.charged == int(accepted)


async def test_an_error_inside_a_200(standin: Any, client_for: Any) -> None:
    await failed(standin, client_for, CreateUnknown, kind="error_in_200", code="InternalServiceError")
    full = await failed(standin, client_for, VendorFull, kind="error_in_200", code="ServerOverloaded")
    assert "ServerOverloaded" in str(full)


async def test_an_error_in_place_of_the_picture_is_not_charged(standin: Any, client_for: Any) -> None:
    error = await failed(standin, client_for, VendorRefused, kind="item_error", code="InternalServiceError")
    assert error.code is Code.VENDOR_FAILED


async def test_an_error_beside_a_picture_leaves_the_picture(standin: Any, client_for: Any) -> None:
    standin.arm("create", "partly", code="OutputImageSensitiveContentDetected")
    async with opened(client_for(standin.url)) as client:
        assert len((await create(client)).files) == 1


async def test_no_item_and_no_charge(standin: Any, client_for: Any) -> None:
    error = await failed(standin, client_for, VendorRefused, kind="empty")
    assert error.code is Code.VENDOR_FAILED


async def test_more_pictures_than_asked_for_are_all_there(standin: Any, client_for: Any) -> None:
    standin.arm("create", "more")
    async with opened(client_for(standin.url)) as client:
        results = await create(client)
    assert (len(results.files), results.usage.pictures, standin.charged) == (2, 2, 2)


async def test_base64_in_place_of_a_url_is_paid_and_unusable(standin: Any, client_for: Any) -> None:
    error = await failed(standin, client_for, CreateUnknown, kind="base64")
    assert "HTTP 200" in str(error)
    assert standin.charged == 1


async def test_a_200_that_is_no_json(standin: Any, client_for: Any) -> None:
    await failed(standin, client_for, CreateUnknown, kind="not_json", accepted=True)
    assert standin.charged == 1


@pytest.mark.parametrize("accepted", [False, True], ids=["before", "after"])
async def test_a_cut_before_and_after_accepting(standin: Any, client_for: Any, *, accepted: bool) -> None:
    await failed(standin, client_for, CreateUnknown, kind="cut", accepted=accepted)
    assert standin.charged == int(accepted)


async def test_who_hangs_up_pays(standin: Any, client_for: Any) -> None:
    standin.arm("create", "hang", accepted=True)
    standin.skip_limits()
    async with opened(client_for(standin.url)) as client:
        with pytest.raises(CreateUnknown, match="create, after sending: no answer in time"):
            await create(client)
    assert standin.charged == 1


async def test_a_trickle_ends_with_the_limit(standin: Any, client_for: Any) -> None:
    standin.arm("create", "slow", accepted=True)
    async with opened(client_for(standin.url)) as client:
        with pytest.raises(CreateUnknown, match="create, after sending: no answer in time"):
            await client.create(order(), timeout=2.0)
    assert standin.charged == 1


async def test_a_link_answers_get_alone_and_expires(standin: Any, client_for: Any) -> None:
    import httpx

    fetching = fetcher(standin.port)
    async with opened(client_for(standin.url)) as client:
        url = (await create(client)).files[0].url
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.head(url)).status_code == 403
        assert (await http.get(url.replace("Signature=", "Signature=0"))).status_code == 403
    assert (await download(fetching, url))[0] == "image/jpeg"
    standin.clock.now += 86_401
    with pytest.raises(ResultUnusable, match="403"):
        await download(fetching, url)
    await fetching.close()


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("slim", Code.VENDOR_REFUSED),
        ("bmp", Code.BAD_PICTURE),
        ("text", Code.BAD_PICTURE),
        ("huge", Code.PICTURE_TOO_LARGE),
    ],
)
async def test_a_reference_that_the_vendor_does_not_take(
    name: str, code: Code, store: str, standin: Any, client_for: Any
) -> None:
    async with opened(client_for(standin.url)) as client:
        error = await refused(client, VendorRefused, order(store, name))
    assert error.code is code
    assert standin.charged == 0


async def test_a_reference_that_cannot_be_had(standin: Any, client_for: Any, closed_port: int) -> None:
    async with opened(client_for(standin.url)) as client:
        request = order(f"http://127.0.0.1:{closed_port}", "photo")
        assert "InvalidImageURL" in str(await refused(client, VendorRefused, request))
