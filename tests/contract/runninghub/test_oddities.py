"""The oddities of docs/reference/vendors.md that the stand-in plays, and what the client makes of them: one test each.

Both generations of the interface, save where the test's name says which. Webhooks: `test_oddities_webhook.py`.
"""

from __future__ import annotations

from typing import Any

import pytest

from messages.codes import Code
from services.errors import CreateUnknown, ResultUnusable, UploadFailed, VendorDown, VendorFull, VendorRefused
from services.fetch import Fetcher
from services.vendors.port import JobState, JobStatus
from services.vendors.runninghub.client import Node, Workflow
from tests.contract.runninghub.calls import Bytes, Caller, calling, opened, order, start, upload


async def outputs(caller: Caller, job: str) -> dict[str, Any]:
    return await caller.v1("/task/openapi/outputs", taskId=job)


async def create(standin: Any, client_for: Any, photo: bytes, error: type[Exception], **fault: Any) -> Any:
    """Return the error of a create with an armed fault."""
    async with opened(client_for(standin.url)) as client:
        request = await order(client, photo)
        standin.arm("create", **fault)
        with pytest.raises(error) as caught:
            await client.create(request, timeout=20.0)
    return caught.value


async def test_create_0(standin: Any, client_for: Any, photo: bytes) -> None:
    async with opened(client_for(standin.url)) as client:
        job = await start(client, photo)
    assert [paid["id"] for paid in standin.core.stats()["jobs"]] == [job]


@pytest.mark.parametrize("code", ["421", "415", "416"])
async def test_create_421_415_416_nothing_accepted_come_again(
    code: str, standin: Any, client_for: Any, photo: bytes
) -> None:
    full = await create(standin, client_for, photo, VendorFull, code=code)
    assert code in str(full)
    assert full.retry_after == (60.0 if code == "415" else None)
    assert standin.core.stats()["creates"] == 0


async def test_create_803_names_the_node(standin: Any, client_for: Any, photo: bytes) -> None:
    wrong = {"model_pose12": Workflow("1990000000000000012", {"photo": Node("115", "image")})}
    async with opened(client_for(standin.url, workflows=wrong)) as client:
        with pytest.raises(VendorRefused, match=r"803.*nodeId=115.*node_not_found_in_workflow"):
            await start(client, photo)
    assert standin.core.stats()["creates"] == 0


async def test_create_500_after_accepting(standin: Any, client_for: Any, photo: bytes) -> None:
    await create(standin, client_for, photo, CreateUnknown, kind="error", status=500, accepted=True)
    assert standin.core.stats()["creates"] == 1


async def test_create_500_as_a_code_after_accepting(standin: Any, client_for: Any, photo: bytes) -> None:
    await create(standin, client_for, photo, CreateUnknown, code="500", accepted=True)
    assert standin.core.stats()["creates"] == 1


async def test_create_200_that_is_no_json(standin: Any, client_for: Any, photo: bytes) -> None:
    await create(standin, client_for, photo, CreateUnknown, kind="not_json", accepted=True)
    assert standin.core.stats()["creates"] == 1


@pytest.mark.parametrize("accepted", [False, True], ids=["before", "after"])
async def test_create_cut_before_and_after_accepting(
    standin: Any, client_for: Any, photo: bytes, *, accepted: bool
) -> None:
    await create(standin, client_for, photo, CreateUnknown, kind="cut", accepted=accepted)
    assert standin.core.stats()["creates"] == int(accepted)


async def test_prompt_tips_with_node_errors_beside_an_id(standin: Any, client_for: Any, photo: bytes) -> None:
    standin.arm("create", "tips")
    async with opened(client_for(standin.url)) as client:
        job = await start(client, photo)
        assert (await client.query(job)).state is JobState.WORKING
    assert standin.core.stats()["jobs"][0]["id"] == job


async def test_status_v1(standin: Any, client_for: Any, photo: bytes, key: str) -> None:
    standin.arm("job", "fail")
    async with opened(client_for(standin.url)) as client, calling(standin.url, key) as caller:
        failed, done, cancelled = [await start(client, photo) for _ in range(3)]

        async def words() -> list[str]:
            said = [await caller.v1("/task/openapi/status", taskId=job) for job in (failed, done, cancelled)]
            return [answer["data"] for answer in said]

        assert await words() == ["QUEUED"] * 3
        await client.cancel(cancelled)
        standin.clock.now += 1.2
        assert await words() == ["RUNNING", "RUNNING", "FAILED"]
        standin.finish_jobs()
        assert await words() == ["FAILED", "SUCCESS", "FAILED"]
        assert (await caller.v1("/task/openapi/status", taskId="77"))["code"] == 807


async def test_outputs_813_queued_and_804_running(standin: Any, client_for: Any, photo: bytes, key: str) -> None:
    async with opened(client_for(standin.url)) as client, calling(standin.url, key) as caller:
        job = await start(client, photo)
        for code in (813, 804):
            assert (await outputs(caller, job))["code"] == code
            assert (await client.query(job)).state is JobState.WORKING
            standin.clock.now += 1.2


async def test_outputs_805_failed_with_its_reason(standin: Any, client_for: Any, photo: bytes, key: str) -> None:
    standin.arm("job", "fail")
    async with opened(client_for(standin.url)) as client, calling(standin.url, key) as caller:
        job = await start(client, photo)
        standin.finish_jobs()
        said, status = await outputs(caller, job), await client.query(job)
    assert (said["code"], said["data"]["failedReason"]["node_id"]) == (805, "9")
    assert (status.state, status.code, status.known) == (JobState.FAILED, Code.VENDOR_FAILED, True)
    assert "KSampler 9 RuntimeError CUDA out of memory" in status.reason


async def test_outputs_with_several_files_of_several_nodes(
    standin: Any, client_for: Any, photo: bytes, key: str
) -> None:
    async with opened(client_for(standin.url)) as client, calling(standin.url, key) as caller:
        job = await start(client, photo)
        standin.finish_jobs()
        said, status = await outputs(caller, job), await client.query(job, kind="model_pose12")
    assert [entry["nodeId"] for entry in said["data"]] == ["21", *["9"] * 12]
    wanted = [entry["fileUrl"].partition("?")[0] for entry in said["data"][1:]]
    assert [file.url.partition("?")[0] for file in status.files] == wanted
    assert {file.type for file in status.files} == {"png"}
    assert status.usage.coins > 0
    assert status.usage.seconds > 0


@pytest.mark.parametrize("ended", [False, True])
async def test_outputs_v1_code_0_and_null_is_not_finished(
    standin: Any, client_for: Any, photo: bytes, *, ended: bool
) -> None:
    async with opened(client_for(standin.url, api="v1")) as client:
        job = await start(client, photo)
        if ended:
            standin.finish_jobs()
        standin.arm("query", "null")
        # The results of an ended job are not shown yet: the collect stage looks again for a while.
        assert await client.query(job) == JobStatus(JobState.SUCCESS if ended else JobState.WORKING)


async def test_outputs_v1_code_0_and_null_of_a_job_that_failed(standin: Any, client_for: Any, photo: bytes) -> None:
    async with opened(client_for(standin.url, api="v1")) as client:
        job = await start(client, photo)
        await client.cancel(job)
        standin.arm("query", "null")
        assert (await client.query(job)).state is JobState.FAILED


@pytest.mark.parametrize("fault", [{"kind": "cut"}, {"code": "811"}, {"code": "1000"}, {"kind": "not_json"}], ids=str)
async def test_status_v1_that_says_nothing_beside_outputs_that_do_not_either(
    fault: dict[str, Any], standin: Any, client_for: Any, photo: bytes
) -> None:
    async with opened(client_for(standin.url, api="v1")) as client:
        job = await start(client, photo)
        standin.finish_jobs()
        standin.arm("query", code="1000")
        standin.arm("status", **fault)
        with pytest.raises(VendorDown):
            await client.query(job)
        standin.arm("query", code="1000")
        with pytest.raises(VendorDown):
            await client.query(job)
        assert (await client.query(job)).state is JobState.SUCCESS


@pytest.mark.parametrize(("code", "error"), [("1000", Code.VENDOR_FAILED), ("1501", Code.CONTENT_VIOLATION)])
async def test_query_v2_with_a_string_error_code(
    code: str, error: Code, standin: Any, client_for: Any, photo: bytes, key: str
) -> None:
    standin.arm("job", "fail", code=code)
    async with opened(client_for(standin.url)) as client, calling(standin.url, key) as caller:
        job = await start(client, photo)
        standin.finish_jobs()
        said, status = await caller.v2("/query", taskId=job), await client.query(job)
    assert (said["status"], said["errorCode"]) == ("FAILED", code)
    assert (status.state, status.code) == (JobState.FAILED, error)


async def test_query_of_a_job_that_is_not_known(standin: Any, client_for: Any) -> None:
    async with opened(client_for(standin.url)) as client:
        status = await client.query("1910246754753896450")
    assert (status.state, status.known) == (JobState.FAILED, False)


async def test_cancel_then_805(standin: Any, client_for: Any, photo: bytes, key: str) -> None:
    async with opened(client_for(standin.url)) as client, calling(standin.url, key) as caller:
        job = await start(client, photo)
        await client.cancel(job)
        said, status = await outputs(caller, job), await client.query(job)
    assert said["code"] == 805
    assert (status.state, status.code) == (JobState.FAILED, Code.VENDOR_FAILED)


async def test_slot_limit_per_key(standin: Any, client_for: Any, photo: bytes, api: str, other_key: str) -> None:
    async with opened(client_for(standin.url)) as client, opened(client_for(standin.url, other_key)) as other:
        request = await order(client, photo)
        for _ in range(3):
            await client.check_room()
            await client.create(request, timeout=20.0)
        if api == "v2":
            with pytest.raises(VendorFull):
                await client.check_room()
        else:
            # The account of v1 shows no limit, so only the create can find out.
            await client.check_room()
        with pytest.raises(VendorFull, match="421"):
            await client.create(request, timeout=20.0)
        assert await start(other, photo)
        standin.finish_jobs()
        await client.check_room()
        assert await client.create(request, timeout=20.0)
    assert standin.core.stats()["creates"] == 5


async def test_url_expiry_403(standin: Any, client_for: Any, photo: bytes) -> None:
    fetcher = Fetcher(
        allowed_hosts=frozenset(),
        allow_private=frozenset({f"127.0.0.1:{standin.port}"}),
        max_bytes=8 << 20,
        timeout=20.0,
    )
    async with opened(client_for(standin.url)) as client:
        job = await start(client, photo)
        standin.finish_jobs()
        url = (await client.query(job)).files[0].url
        standin.clock.now += 86_401
        with pytest.raises(ResultUnusable, match="403"):
            async with fetcher.open(url):
                pass
        async with fetcher.open((await client.query(job)).files[0].url) as fresh:
            assert fresh.content_type == "image/png"
    await fetcher.close()


async def test_upload_over_30_mb_809(standin: Any, client_for: Any, api: str, key: str) -> None:
    big = Bytes(bytes(30 * 1024 * 1024 + 1))
    path = "/openapi/v2/media/upload/binary" if api == "v2" else "/task/openapi/upload"
    async with opened(client_for(standin.url)) as client, calling(standin.url, key) as caller:
        with pytest.raises(VendorRefused) as own:
            await client.upload(big, filename="a.zip", content_type="application/zip")
        assert standin.core.stats()["uploads"] == 0
        form: dict[str, Any] = {
            "data": {"apiKey": key},
            "files": {"file": ("a.zip", bytes(big.size), "application/zip")},
        }
        said = await caller.http.post(path, headers=caller.bearer, **form)
        assert said.json()["code"] == 809
        standin.arm("upload", code="809")
        with pytest.raises(VendorRefused) as reported:
            await upload(client, b"any bytes")
    assert own.value.code is reported.value.code is Code.PICTURE_TOO_LARGE


async def test_401_flicker(standin: Any, client_for: Any, photo: bytes) -> None:
    async with opened(client_for(standin.url)) as client:
        for fault in ({"kind": "unauthorized"}, {"code": "811"}):
            standin.arm("upload", **fault)
            with pytest.raises(VendorDown):
                await upload(client, photo)
        job = await start(client, photo)
        standin.finish_jobs()
        # SUCCESS, refused, SUCCESS of one finished job: seen in the wild.
        for fault in ({"kind": "unauthorized"}, {"code": "811"}):
            assert (await client.query(job)).state is JobState.SUCCESS
            standin.arm("query", **fault)
            with pytest.raises(VendorDown):
                await client.query(job)
        assert (await client.query(job)).state is JobState.SUCCESS


async def test_upload_808_may_work_again(standin: Any, client_for: Any, photo: bytes) -> None:
    async with opened(client_for(standin.url)) as client:
        standin.arm("upload", code="808")
        with pytest.raises(UploadFailed):
            await upload(client, photo)
        assert await upload(client, photo)
