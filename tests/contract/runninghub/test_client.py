"""The client against the stand-in, over real HTTP: the effect of each call, and the meaning of each code."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from messages.codes import Code
from messages.errors import Permanent, ScfWorkersError
from services.errors import CreateUnknown, ObjectsDown, UploadFailed, VendorDown, VendorFull, VendorRefused
from services.vendors.port import JobRequest, JobState, Vendor
from services.vendors.runninghub.client import Node, RunningHub, Workflow
from services.vendors.runninghub.codes import CODES, OnCreate, OnQuery, OnUpload
from telemetry.secrets import Secret
from tests.contract.runninghub.calls import Bytes, opened, order, start, upload

SILENT = tuple({"kind": kind} for kind in ("unauthorized", "error", "not_json", "cut", "hang"))


def test_is_a_vendor(client_for: Callable[..., RunningHub]) -> None:
    vendor: Vendor = client_for("https://www.runninghub.cn")
    assert vendor.name == "runninghub"
    assert "rh-images.xiaoyaoyou.com" in vendor.result_hosts
    assert vendor.upload_limit == 30 * 1024 * 1024


async def test_a_photo_becomes_twelve_pictures(standin: Any, photo: bytes, client_for: Any) -> None:
    async with opened(client_for(standin.url)) as client:
        await client.check_room()
        request = await order(client, photo, prompt="on a beach")
        job = (await client.create(request, timeout=20.0)).id
        assert (await client.query(job)).state is JobState.WORKING
        standin.clock.now += 1.2
        assert (await client.query(job)).state is JobState.WORKING
        standin.finish_jobs()
        status = await client.query(job)
    assert status.state is JobState.SUCCESS
    assert len(status.files) == len({file.url for file in status.files}) == 12
    assert {file.type for file in status.files} == {"png"}
    assert status.usage.coins > 0
    assert status.usage.seconds > 0
    (paid,) = standin.core.stats()["jobs"]
    assert paid["id"] == job
    assert paid["values"] == {"10.image": request.inputs["photo"], "6.text": "on a beach"}


async def test_without_output_nodes_all_files_are_results(
    standin: Any, photo: bytes, client_for: Any, workflows: dict[str, Workflow]
) -> None:
    every = Workflow(workflows["model_pose12"].workflow_id, {"photo": Node("10", "image")})
    async with opened(client_for(standin.url, workflows={"model_pose12": every})) as client:
        job = await start(client, photo)
        standin.finish_jobs()
        assert len((await client.query(job)).files) == 13


async def test_the_kind_selects_its_own_output_nodes(
    standin: Any, photo: bytes, client_for: Any, workflows: dict[str, Workflow]
) -> None:
    other = Workflow("1", {"photo": Node("1", "image")}, outputs=("21",))
    async with opened(client_for(standin.url, workflows={**workflows, "other": other})) as client:
        job = await start(client, photo)
        standin.finish_jobs()
        assert len((await client.query(job)).files) == 13
        assert len((await client.query(job, kind="model_pose12")).files) == 12


async def test_a_webhook_is_named_only_when_there_is_one(standin: Any, photo: bytes, client_for: Any) -> None:
    async with opened(client_for(standin.url)) as client:
        request = await order(client, photo)
        await client.create(request, timeout=20.0)
        url = f"{standin.url}/_sandbox/stats"
        await client.create(JobRequest(request.kind, request.inputs, request.values, webhook=url), timeout=20.0)
    assert [job["webhook"] for job in standin.core.stats()["jobs"]] == [False, True]


# create


async def test_each_code_of_a_create(standin: Any, photo: bytes, client_for: Any) -> None:
    outcome = {OnCreate.FULL: VendorFull, OnCreate.REFUSED: VendorRefused, OnCreate.UNKNOWN: CreateUnknown}
    expected = {code: outcome[meaning.create] for code, meaning in CODES.items()} | {"4242": CreateUnknown}
    caught: dict[str, ScfWorkersError] = {}
    async with opened(client_for(standin.url)) as client:
        request = await order(client, photo)
        for code in expected:
            standin.arm("create", code=code)
            with pytest.raises(ScfWorkersError) as error:
                await client.create(request, timeout=20.0)
            caught[code] = error.value
    assert {code: type(error) for code, error in caught.items()} == expected
    assert standin.core.stats()["creates"] == 0
    assert caught["1501"].code is caught["1505"].code is Code.CONTENT_VIOLATION
    assert caught["803"].code is Code.VENDOR_REFUSED


async def test_an_id_that_is_a_number(standin: Any, photo: bytes, client_for: Any) -> None:
    standin.arm("create", "number")
    async with opened(client_for(standin.url)) as client:
        job = await start(client, photo)
        assert (await client.query(job)).state is JobState.WORKING
    assert standin.core.stats()["jobs"][0]["id"] == job


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "error", "accepted": True},
        {"kind": "error"},
        {"kind": "error", "status": 502, "accepted": True},
        {"kind": "not_json", "accepted": True},
        {"kind": "not_json"},
        {"kind": "cut"},
        {"kind": "cut", "accepted": True},
        {"kind": "hang"},
        {"kind": "hang", "accepted": True},
        {"kind": "no_id"},
    ],
    ids=str,
)
async def test_an_answer_that_proves_nothing_is_unknown_and_posted_once(
    fault: dict[str, Any], standin: Any, photo: bytes, client_for: Any
) -> None:
    async with opened(client_for(standin.url)) as client:
        request = await order(client, photo)
        standin.arm("create", **fault)
        standin.skip_limits()
        with pytest.raises(CreateUnknown):
            await client.create(request, timeout=20.0)
    accepted = fault.get("accepted", False) or fault["kind"] == "no_id"
    assert standin.core.stats()["creates"] == int(accepted)


async def test_each_http_status_of_a_create(standin: Any, photo: bytes, client_for: Any) -> None:
    expected: dict[int, type[ScfWorkersError]] = {
        **dict.fromkeys((401, 403, 429), VendorFull),
        **dict.fromkeys((400, 404, 413, 422), VendorRefused),
        **dict.fromkeys((301, 302, 408, 409, 500, 501, 502, 503, 504), CreateUnknown),
    }
    caught: dict[int, type[ScfWorkersError]] = {}
    async with opened(client_for(standin.url)) as client:
        request = await order(client, photo)
        for status in expected:
            standin.arm("create", "error", status=status)
            with pytest.raises(ScfWorkersError) as error:
                await client.create(request, timeout=20.0)
            caught[status] = type(error.value)
    assert caught == expected


async def test_a_wrong_key_is_not_accepted_and_not_final(standin: Any, photo: bytes, client_for: Any, api: str) -> None:
    async with opened(client_for(standin.url)) as right, opened(client_for(standin.url, "x" * 32)) as wrong:
        request = await order(right, photo)
        with pytest.raises(VendorFull, match="401" if api == "v2" else "802"):
            await wrong.create(request, timeout=20.0)


async def test_no_connection_is_proof_that_nothing_was_sent(client_for: Any, closed_port: int) -> None:
    async with opened(client_for(f"http://127.0.0.1:{closed_port}")) as client:
        with pytest.raises(VendorFull, match="nothing was sent"):
            await client.create(JobRequest("model_pose12", {"photo": "openapi/x.jpg"}), timeout=20.0)


async def test_a_host_without_an_address_is_proof_too(client_for: Any) -> None:
    async with opened(client_for("http://no-such-host.invalid")) as client:
        with pytest.raises(VendorFull, match="nothing was sent"):
            await client.create(JobRequest("model_pose12", {"photo": "openapi/x.jpg"}), timeout=20.0)


async def test_a_failed_handshake_is_proof_too(client_for: Any, standin: Any) -> None:
    async with opened(client_for(f"https://127.0.0.1:{standin.port}")) as client:
        with pytest.raises(VendorFull, match="nothing was sent"):
            await client.create(JobRequest("model_pose12", {"photo": "openapi/x.jpg"}), timeout=20.0)
    assert standin.core.stats()["refused"] == 0


async def test_a_limit_that_ends_while_connecting_is_proof_too(client_for: Any, deaf_port: int) -> None:
    # A listener that never accepts: the handshake of TLS never begins.
    async with opened(client_for(f"https://127.0.0.1:{deaf_port}")) as client:
        with pytest.raises(VendorFull, match="nothing was sent"):
            await client.create(JobRequest("model_pose12", {"photo": "openapi/x.jpg"}), timeout=1.0)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (JobRequest("no_kind", {}), "no_kind"),
        (JobRequest("model_pose12", {"photo": "a"}, {"size": "big"}), "size"),
        (JobRequest("model_pose12", {}, {"prompt": "on a beach"}), "photo"),
    ],
)
async def test_what_the_configuration_has_no_place_for(
    request_: JobRequest, words: str, standin: Any, client_for: Any
) -> None:
    async with opened(client_for(standin.url)) as client:
        with pytest.raises(VendorRefused, match=words):
            await client.create(request_, timeout=20.0)
    assert standin.core.stats()["refused"] == 0


# query


async def test_each_code_of_a_query(standin: Any, photo: bytes, client_for: Any, api: str) -> None:
    # Where `outputs` of v1 does not decide, its `status` does.
    undecided = JobState.WORKING if api == "v1" else None
    outcome = {OnQuery.WORKING: JobState.WORKING, OnQuery.ENDED: JobState.FAILED, OnQuery.STATUS: undecided}
    expected = {code: outcome.get(meaning.query) for code, meaning in CODES.items()} | {"4242": undecided}
    states: dict[str, JobState | None] = {}
    async with opened(client_for(standin.url)) as client:
        job = await start(client, photo)
        for code in expected:
            standin.arm("query", code=code)
            try:
                states[code] = (await client.query(job)).state
            except VendorDown:
                states[code] = None
        assert (await client.query(job)).state is JobState.WORKING
    assert states == expected


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"kind": "fail"}, Code.VENDOR_FAILED),
        ({"kind": "fail", "code": "1000"}, Code.VENDOR_FAILED),
        ({"kind": "fail", "code": "803"}, Code.VENDOR_FAILED),
        ({"kind": "fail", "code": "1006"}, Code.TIMEOUT),
        ({"kind": "fail", "code": "1504"}, Code.TIMEOUT),
        ({"kind": "violate"}, Code.CONTENT_VIOLATION),
        ({"kind": "fail", "code": "1505"}, Code.CONTENT_VIOLATION),
    ],
    ids=str,
)
async def test_why_a_job_failed(fault: dict[str, str], code: Code, standin: Any, photo: bytes, client_for: Any) -> None:
    standin.arm("job", **fault)
    async with opened(client_for(standin.url)) as client:
        job = await start(client, photo)
        standin.finish_jobs()
        status = await client.query(job)
    assert (status.state, status.code) == (JobState.FAILED, code)
    assert status.reason


async def test_a_file_that_is_no_picture_fails_the_job(standin: Any, client_for: Any) -> None:
    async with opened(client_for(standin.url)) as client:
        job = await start(client, b"not a picture")
        standin.finish_jobs()
        status = await client.query(job)
    assert status.state is JobState.FAILED
    assert "UnidentifiedImageError" in status.reason


@pytest.mark.parametrize("kind", ["unauthorized", "error", "not_json", "cut", "hang"])
async def test_a_query_that_says_nothing_and_the_next_that_does(
    kind: str, standin: Any, photo: bytes, client_for: Any
) -> None:
    async with opened(client_for(standin.url)) as client:
        standin.skip_limits()
        job = await start(client, photo)
        standin.finish_jobs()
        standin.arm("query", kind)
        with pytest.raises(VendorDown):
            await client.query(job)
        assert (await client.query(job)).state is JobState.SUCCESS


async def test_a_job_of_another_key_is_not_known(standin: Any, photo: bytes, client_for: Any, other_key: str) -> None:
    async with opened(client_for(standin.url)) as client, opened(client_for(standin.url, other_key)) as other:
        job = await start(client, photo)
        assert (await other.query(job)).state is JobState.FAILED


async def test_late_and_short_jobs(standin: Any, photo: bytes, client_for: Any) -> None:
    standin.arm("job", "late")
    standin.arm("job", "short")
    async with opened(client_for(standin.url)) as client:
        late, short = await start(client, photo), await start(client, photo)
        standin.clock.now += 3.0
        assert (await client.query(late)).state is JobState.WORKING
        assert len((await client.query(short)).files) == 11
        standin.finish_jobs()
        assert len((await client.query(late)).files) == 12


# upload


async def test_each_code_of_an_upload(standin: Any, client_for: Any) -> None:
    outcome = {OnUpload.DOWN: VendorDown, OnUpload.RETRY: UploadFailed, OnUpload.REFUSED: VendorRefused}
    expected = {code: outcome[meaning.upload] for code, meaning in CODES.items()} | {"4242": UploadFailed}
    caught: dict[str, ScfWorkersError] = {}
    async with opened(client_for(standin.url)) as client:
        for code in expected:
            standin.arm("upload", code=code)
            with pytest.raises(ScfWorkersError) as error:
                await upload(client, b"any bytes")
            caught[code] = error.value
        assert await upload(client, b"any bytes")
    assert {code: type(error) for code, error in caught.items()} == expected
    assert caught["809"].code is caught["1008"].code is Code.PICTURE_TOO_LARGE


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "unauthorized"}, VendorDown),
        ({"kind": "error", "status": 503}, VendorDown),
        ({"kind": "error"}, VendorDown),
        ({"kind": "error", "status": 413}, VendorRefused),
        ({"kind": "not_json"}, UploadFailed),
        ({"kind": "cut"}, VendorDown),
        ({"kind": "hang"}, VendorDown),
    ],
    ids=str,
)
async def test_uploads_that_go_wrong(
    fault: dict[str, Any], error: type[Exception], standin: Any, photo: bytes, client_for: Any
) -> None:
    # Only an upload that hangs may meet its limit on a busy machine.
    limit = {"timeout": 1.0} if fault["kind"] == "hang" else {}
    async with opened(client_for(standin.url, **limit)) as client:
        standin.arm("upload", **fault)
        with pytest.raises(error):
            await upload(client, photo)


@pytest.mark.parametrize("size", [1000, 20_000_000])
async def test_a_source_that_is_not_as_long_as_it_says(size: int, standin: Any, photo: bytes, client_for: Any) -> None:
    async with opened(client_for(standin.url)) as client:
        with pytest.raises(UploadFailed):
            await client.upload(Bytes(photo, size=size), filename="a.jpg", content_type="image/jpeg")
        assert await upload(client, photo)


async def test_a_source_that_breaks_tells_its_own_error(standin: Any, photo: bytes, client_for: Any) -> None:
    async with opened(client_for(standin.url)) as client:
        source = Bytes(photo, size=len(photo) + 10, error=ObjectsDown("gone"))
        with pytest.raises(ObjectsDown):
            await client.upload(source, filename="a.jpg", content_type="image/jpeg")


@pytest.mark.parametrize("filename", ['a"; name="x', "../../etc/passwd", "衣服.jpg", "", "a\r\nX: y.jpg"])
async def test_any_filename_arrives_safely(filename: str, standin: Any, photo: bytes, client_for: Any) -> None:
    async with opened(client_for(standin.url)) as client:
        reference = await client.upload(Bytes(photo), filename=filename, content_type="image/jpeg\r\nX: y")
        job = (await client.create(JobRequest("model_pose12", {"photo": reference}), timeout=20.0)).id
        standin.finish_jobs()
        assert (await client.query(job)).state is JobState.SUCCESS


# cancel and the rest


async def test_cancelled_ended_and_unknown_jobs(standin: Any, photo: bytes, client_for: Any) -> None:
    async with opened(client_for(standin.url)) as client:
        job = await start(client, photo)
        await client.cancel(job)
        status = await client.query(job)
        assert (status.state, status.code) == (JobState.FAILED, Code.VENDOR_FAILED)
        await client.cancel(job)
        await client.cancel("1234567890123456789")
        done = await start(client, photo)
        standin.finish_jobs()
        await client.cancel(done)
        assert (await client.query(done)).state is JobState.SUCCESS


@pytest.mark.parametrize(
    "fault",
    [*SILENT, *({"code": code} for code in ("811", "802", "1000", "1003"))],
    ids=str,
)
async def test_a_cancel_without_an_answer(fault: dict[str, Any], standin: Any, photo: bytes, client_for: Any) -> None:
    async with opened(client_for(standin.url)) as client:
        standin.skip_limits()
        job = await start(client, photo)
        standin.arm("cancel", **fault)
        with pytest.raises(VendorDown):
            await client.cancel(job)
        await client.cancel(job)
    assert standin.core.stats()["jobs"][0]["state"] == "CANCEL"


async def test_a_cancel_that_came_too_late(standin: Any, client_for: Any) -> None:
    async with opened(client_for(standin.url)) as client:
        for code in ("805", "807", "423", "1004", "804", "4242"):
            standin.arm("cancel", code=code)
            await client.cancel("1234567890123456789")
            assert standin.core.take("cancel") is None, "the fault was used"


@pytest.mark.parametrize(
    "fault",
    [*SILENT, {"code": "811"}],
    ids=str,
)
async def test_room_that_cannot_be_told(fault: dict[str, Any], standin: Any, client_for: Any) -> None:
    async with opened(client_for(standin.url)) as client:
        standin.skip_limits()
        standin.arm("queue", **fault)
        with pytest.raises(VendorDown):
            await client.check_room()
        await client.check_room()


async def test_a_vendor_without_a_look_at_the_queue_has_room(standin: Any, client_for: Any) -> None:
    async with opened(client_for(standin.url)) as client:
        standin.arm("queue", "error", status=404)
        await client.check_room()
        assert standin.core.take("queue") is None, "the fault was used"


async def test_a_closed_client_can_be_closed_again(standin: Any, client_for: Any) -> None:
    client = client_for(standin.url)
    await client.check_room()
    await client.close()
    await client.close()
    assert client._http._pool is None


# secrets


def test_neither_logs_nor_errors_hold_secrets(
    standin: Any, photo: bytes, client_for: Any, api: str, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    # Its own level too: a command that ran before in this process may have set it.
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.INFO, "httpx")
    values = {"prompt": "a secret prompt"}
    webhook = f"{standin.url}/hook/9c2b7c0e5f1d4a3b8e6f"
    errors: list[Exception] = []

    async def body() -> None:
        async with opened(client_for(standin.url)) as client:
            inputs = {"photo": await upload(client, photo)}
            for fault in ({"code": "803"}, {"kind": "unauthorized"}, {"kind": "cut"}, {"kind": "not_json"}):
                standin.arm("create", **fault)
                with pytest.raises(ScfWorkersError) as caught:
                    await client.create(JobRequest("model_pose12", inputs, values, webhook=webhook), timeout=20.0)
                errors.append(caught.value)

    asyncio.run(body())
    said = caplog.text + "".join(line for error in errors for line in traceback.format_exception(error))
    assert ("run/workflow" if api == "v2" else "openapi/create") in said
    assert len(errors) == 4
    for secret in (key, webhook, *values.values()):
        assert secret not in said


def test_a_key_no_header_can_carry(workflows: dict[str, Workflow]) -> None:
    for bad in ("", "abc\n", "键", "a b"):
        with pytest.raises(Permanent) as caught:
            RunningHub(base_url="https://www.runninghub.cn", api_key=Secret(bad), workflows=workflows)
        assert not bad or bad not in str(caught.value)


@pytest.mark.parametrize("url", ["", "www.runninghub.cn", "ftp://x", "https://", "https://a:b@x", "https://x?y=1"])
def test_a_base_url_that_is_none(url: str, workflows: dict[str, Workflow]) -> None:
    with pytest.raises(Permanent):
        RunningHub(base_url=url, api_key=Secret("k"), workflows=workflows)
