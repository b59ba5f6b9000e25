"""The oddities of docs/reference/vod.md that the stand-in plays, and what the client makes of them: one test each."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from messages.codes import Code
from services.errors import ResultUnusable, VendorDown, VendorFull, VendorRefused
from services.fetch import Fetcher
from services.vendors.port import JobState
from tests.contract.vod.calls import create, failed, opened, order


def fetcher(port: int) -> Fetcher:
    return Fetcher(
        allowed_hosts=frozenset(), allow_private=frozenset({f"127.0.0.1:{port}"}), max_bytes=16 << 20, timeout=20.0
    )


async def test_a_job_works_and_ends_with_a_picture(standin: Any, client_for: Any, store: str) -> None:
    async with opened(client_for()) as client:
        made = await create(client, order(store, "person", "shirt", size="1k"))
        assert (await client.query(made.id)).state is JobState.WORKING
        standin.clock.now += 60
        assert (await client.query(made.id)).state is JobState.WORKING
        standin.clock.now += 61
        status = await client.query(made.id)
        assert (status.state, len(status.files), status.usage.pictures) == (JobState.SUCCESS, 1, 1)
        assert status.files[0].type == "png"
        async with fetcher(standin.port).open(status.files[0].url) as fetched:
            body = b"".join([piece async for piece in fetched])
    assert body.startswith(b"\x89PNG")
    assert standin.core.stats()["jobs"][0]["references"] == 2


@pytest.mark.parametrize("code", ["RequestLimitExceeded", "RequestLimitExceeded.UinLimitExceeded", "LimitExceeded"])
async def test_a_limit_is_a_full_vendor(code: str, standin: Any, client_for: Any) -> None:
    standin.arm("create", code=code)
    async with opened(client_for()) as client:
        full = await failed(client, VendorFull)
    assert code in str(full)
    assert full.retry_after in {10.0, 30.0}


async def test_no_machine_free_is_a_full_vendor(standin: Any, client_for: Any) -> None:
    standin.arm("create", code="ResourceInsufficient")
    async with opened(client_for()) as client:
        assert (await failed(client, VendorFull)).retry_after == 30.0


async def test_more_jobs_than_the_account_may_have_are_full(standin: Any, client_for: Any) -> None:
    async with opened(client_for()) as client:
        for number in range(4):
            await create(client, order(identity=f"{number:050d}"))
        assert "RequestLimitExceeded" in str(await failed(client, VendorFull))
        standin.clock.now += 121
        await create(client)
    assert standin.jobs == 5


async def test_after_full_there_is_no_room_for_a_while(
    standin: Any, client_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    standin.arm("create", code="RequestLimitExceeded")
    async with opened(client_for()) as client:
        await client.check_room()
        await failed(client, VendorFull)
        with pytest.raises(VendorFull):
            await client.check_room()
        loop = asyncio.get_running_loop()
        later = loop.time() + 11
        monkeypatch.setattr(loop, "time", lambda: later)
        await client.check_room()


@pytest.mark.parametrize(
    "code",
    [
        "AuthFailure.SignatureExpire",
        "AuthFailure.SignatureFailure",
        "AuthFailure.TokenFailure",
        "UnauthorizedOperation",
        "FailedOperation.InvalidAccount",
        "FailedOperation.InvalidVodUser",
        "FailedOperation.UserStatusInavlid",
        "ResourceUnavailable",
    ],
)
async def test_the_account_as_such_waits_for_a_person(
    code: str, standin: Any, client_for: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    standin.arm("create", code=code)
    async with opened(client_for()) as client:
        await failed(client, VendorFull)
    assert standin.jobs == 0


@pytest.mark.parametrize(
    ("code", "ends"),
    [
        ("InvalidParameter.VoilationContent", Code.CONTENT_VIOLATION),
        ("ContentModerationFailed", Code.CONTENT_VIOLATION),
        ("InvalidParameter.MediaFormat", Code.BAD_PICTURE),
        ("InvalidParameterValue.Limit", Code.VENDOR_REFUSED),
        ("MissingParameter", Code.VENDOR_REFUSED),
        ("UnknownParameter", Code.VENDOR_REFUSED),
        ("InvalidParameterValue.SubAppId", Code.VENDOR_REFUSED),
        ("OperationDenied", Code.VENDOR_REFUSED),
    ],
)
async def test_a_refused_create(code: str, ends: Code, standin: Any, client_for: Any) -> None:
    standin.arm("create", code=code)
    async with opened(client_for()) as client:
        assert (await failed(client, VendorRefused)).code is ends


@pytest.mark.parametrize(
    ("code", "ends"),
    [
        ("RequestLimitExceeded", Code.VENDOR_FAILED),
        ("FailedOperation", Code.VENDOR_FAILED),
        ("ResourceInsufficient", Code.VENDOR_FAILED),
        ("ModelGenerateFailed", Code.VENDOR_FAILED),
        ("InternalError", Code.VENDOR_FAILED),
        ("TaskTimeout", Code.VENDOR_FAILED),
        ("OperationCanceled", Code.VENDOR_FAILED),
        ("ResourceNotFound", Code.VENDOR_FAILED),
        ("InvalidParameter", Code.VENDOR_FAILED),
        ("InvalidParameterValue", Code.VENDOR_FAILED),
        ("InvalidParameter.MediaFormat", Code.BAD_PICTURE),
        ("InvalidParameter.VoilationContent", Code.CONTENT_VIOLATION),
        ("ContentModerationFailed", Code.CONTENT_VIOLATION),
        ("Curious.Code", Code.VENDOR_FAILED),
    ],
)
async def test_a_job_that_fails(code: str, ends: Code, standin: Any, client_for: Any) -> None:
    standin.arm("create", "job_fails", code=code)
    async with opened(client_for()) as client:
        made = await create(client)
        standin.clock.now += 121
        status = await client.query(made.id)
    assert (status.state, status.code, status.known) == (JobState.FAILED, ends, True)
    assert code in status.reason


async def test_a_job_that_never_ends_works(standin: Any, client_for: Any) -> None:
    standin.arm("create", "never_ends")
    async with opened(client_for()) as client:
        made = await create(client)
        standin.clock.now += 86_400
        assert (await client.query(made.id)).state is JobState.WORKING


@pytest.mark.parametrize(("kind", "files"), [("no_file", 0), ("more", 2)])
async def test_a_success_with_another_number_of_files(kind: str, files: int, standin: Any, client_for: Any) -> None:
    standin.arm("create", kind)
    async with opened(client_for()) as client:
        made = await create(client)
        standin.clock.now += 121
        status = await client.query(made.id)
    assert (status.state, len(status.files)) == (JobState.SUCCESS, files)


async def test_a_job_that_the_vendor_does_not_know(standin: Any, client_for: Any) -> None:
    async with opened(client_for()) as client:
        status = await client.query("1-AigcImageTask-0t")
        assert (status.state, status.known) == (JobState.FAILED, False)
        made = await create(client)
        standin.arm("query", "unknown")
        assert not (await client.query(made.id)).known
        assert (await client.query(made.id)).known


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "error", "status": 503},
        {"kind": "not_json"},
        {"kind": "cut"},
        {"code": "AuthFailure.SignatureFailure"},
        {"code": "RequestLimitExceeded"},
        {"code": "InternalError"},
        {"code": "Curious.Code"},
    ],
)
@pytest.mark.parametrize("on", ["query", "list"])
async def test_a_look_without_a_usable_answer_is_an_outage(
    on: str, fault: dict[str, Any], standin: Any, client_for: Any
) -> None:
    standin.arm(on, **fault)
    async with opened(client_for()) as client:
        with pytest.raises(VendorDown):
            await (client.query("1-AigcImageTask-0t") if on == "query" else client.find("a" * 50))


async def test_only_a_waiting_job_is_stopped(standin: Any, client_for: Any) -> None:
    async with opened(client_for()) as client:
        waiting = await create(client)
        await client.cancel(waiting.id)
        status = await client.query(waiting.id)
        assert (status.state, status.code) == (JobState.FAILED, Code.VENDOR_FAILED)
        working = await create(client, order(identity="b" * 50))
        standin.clock.now += 60
        await client.cancel(working.id)
        assert (await client.query(working.id)).state is JobState.WORKING
        await client.cancel("1-AigcImageTask-0t")
        standin.arm("cancel", "error", status=503)
        with pytest.raises(VendorDown):
            await client.cancel(working.id)


async def test_a_reference_that_cannot_be_had_fails_the_job(standin: Any, client_for: Any, store: str) -> None:
    async with opened(client_for()) as client:
        made = await create(client, order(store, "person", "text"))
        standin.clock.now += 121
        assert (await client.query(made.id)).code is Code.BAD_PICTURE


@pytest.mark.parametrize("kind", ["missing", "expired", "html"])
async def test_a_file_that_is_not_there(kind: str, standin: Any, client_for: Any) -> None:
    async with opened(client_for()) as client:
        made = await create(client)
        standin.clock.now += 121
        url = (await client.query(made.id)).files[0].url
        standin.arm("file", kind)
        with pytest.raises(ResultUnusable):
            async with fetcher(standin.port).open(url):
                pass


async def test_a_link_ends_after_seven_days(standin: Any, client_for: Any) -> None:
    async with opened(client_for()) as client:
        made = await create(client)
        standin.clock.now += 121
        url = (await client.query(made.id)).files[0].url
    standin.clock.now += 7 * 86_400 + 1
    with pytest.raises(ResultUnusable):
        async with fetcher(standin.port).open(url):
            pass


async def test_the_same_session_is_free_again_after_three_days(standin: Any, client_for: Any) -> None:
    async with opened(client_for()) as client:
        await create(client)
        standin.clock.now += 3 * 86_400 + 1
        assert await client.find(order().identity) == ""
        await create(client)
    assert standin.jobs == 2
