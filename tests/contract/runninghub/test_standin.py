"""The stand-in itself: v1 beside v2, its files and faults. Its oddities: `test_oddities.py`."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import httpx
import msgspec
import pytest
from PIL import Image

from sandbox.runninghub import DEMO_WORKFLOW_ID
from sandbox.runninghub.forms import boundary_of, parse_form
from tests.contract.runninghub.calls import Caller, calling


async def test_v1_from_upload_to_outputs(standin: Any, photo: bytes, key: str) -> None:
    async with calling(standin.url, key) as caller:
        form = {"apiKey": key, "fileType": "input"}
        answer = await caller.http.post(
            "/task/openapi/upload", data=form, files={"file": ("a.jpg", photo, "image/jpeg")}
        )
        name = answer.json()["data"]["fileName"]
        assert name.startswith("api/")
        nodes = [{"nodeId": "10", "fieldName": "image", "fieldValue": name}]
        more = {"addMetadata": True, "instanceType": "plus", "usePersonalQueue": "true", "retainSeconds": 60}
        created = await caller.v1("/task/openapi/create", workflowId=DEMO_WORKFLOW_ID, nodeInfoList=nodes, **more)
        task = {"taskId": created["data"]["taskId"]}
        assert created["code"] == 0
        assert created["data"]["taskStatus"] == "QUEUED"
        assert msgspec.json.decode(created["data"]["promptTips"])["node_errors"] == {}
        assert (await caller.v1("/task/openapi/outputs", **task))["code"] == 813
        standin.clock.now += 1.2
        running = await caller.v1("/task/openapi/outputs", **task)
        assert (running["code"], set(running["data"])) == (804, {"netWssUrl"})
        standin.finish_jobs()
        assert (await caller.v1("/task/openapi/status", **task))["data"] == "SUCCESS"
        done = await caller.v1("/task/openapi/outputs", **task)
    assert [entry["nodeId"] for entry in done["data"]] == ["21"] + ["9"] * 12
    assert isinstance(done["data"][1]["taskCostTime"], str)


async def test_v1_cancel_then_outputs(standin: Any, photo: bytes, key: str) -> None:
    async with calling(standin.url, key) as caller:
        task = {"taskId": (await caller.create(await caller.upload(photo)))["taskId"]}
        assert await caller.v1("/task/openapi/cancel", **task) == {"code": 0, "msg": "success", "data": None}
        outputs = await caller.v1("/task/openapi/outputs", **task)
        assert outputs["code"] == 805
        assert outputs["data"]["failedReason"]["exception_type"]
        assert (await caller.v1("/task/openapi/cancel", taskId="1"))["code"] == 807


async def test_v1_takes_the_key_in_the_header_too_and_refuses_a_wrong_one(standin: Any, key: str) -> None:
    async with calling(standin.url, key) as caller:
        path = "/uc/openapi/accountStatus"
        assert (await caller.http.post(path, json={"apikey": "nobody"})).json()["code"] == 802
        in_header = (await caller.http.post(path, json={}, headers=caller.bearer)).json()
        in_body = (await caller.http.post(path, json={"apikey": key})).json()
    assert in_header == in_body
    assert in_body["data"]["currentTaskCounts"] == "0"


async def test_v2_refuses_a_wrong_key_as_the_gateway_does(standin: Any, photo: bytes) -> None:
    async with calling(standin.url, "nobody") as caller:
        calls: list[tuple[str, str, dict[str, Any]]] = [
            ("POST", "/query", {"json": {"taskId": "1"}}),
            ("POST", f"/run/workflow/{DEMO_WORKFLOW_ID}", {"json": {}}),
            ("POST", "/media/upload/binary", {"files": {"file": ("a.jpg", photo, "image/jpeg")}}),
            ("GET", "/queue/status", {}),
        ]
        for method, path, body in calls:
            answer = await caller.http.request(method, f"/openapi/v2{path}", headers=caller.bearer, **body)
            assert answer.status_code == 401
            assert answer.json() == {"code": -1, "msg": "ApiKey verification failed"}


async def test_unknown_paths_are_404(standin: Any, key: str) -> None:
    async with calling(standin.url, key) as caller:
        assert (await caller.http.post("/openapi/v2/run/app/1", json={})).status_code == 404


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([{"nodeId": "115", "fieldName": "image", "fieldValue": "x"}], "nodeId=115"),
        ([{"nodeId": "10", "fieldName": "picture", "fieldValue": "x"}], "fieldName=picture"),
        ([{"nodeId": "10", "fieldName": "image", "fieldValue": "openapi/no-such.png"}], "file_not_found"),
        ("not a list", "NODE_INFO_ERROR"),
    ],
)
async def test_node_info_is_checked(nodes: Any, reason: str, standin: Any, key: str) -> None:
    async with calling(standin.url, key) as caller:
        v2 = await caller.v2(f"/run/workflow/{DEMO_WORKFLOW_ID}", nodeInfoList=nodes)
        v1 = await caller.v1("/task/openapi/create", workflowId=DEMO_WORKFLOW_ID, nodeInfoList=nodes)
        unknown = await caller.v2("/run/workflow/77", nodeInfoList=[])
    assert v2["errorCode"] == "803"
    assert v1["code"] == 803
    assert reason in v2["errorMessage"]
    assert unknown["errorCode"] == "380"
    assert standin.core.stats()["creates"] == 0


async def test_files_of_another_key_are_not_known(standin: Any, photo: bytes, key: str, other_key: str) -> None:
    async with calling(standin.url, key) as one, calling(standin.url, other_key) as other:
        name = await one.upload(photo)
        assert (await other.create(name))["errorCode"] == "803"


async def test_what_is_no_form_is_no_upload(standin: Any, key: str) -> None:
    async with calling(standin.url, key) as caller:
        answer = await caller.http.post("/openapi/v2/media/upload/binary", content=b"x", headers=caller.bearer)
        assert answer.json()["code"] == 808


async def pictures_of(caller: Caller, standin: Any, photo: bytes) -> list[bytes]:
    task = (await caller.create(await caller.upload(photo)))["taskId"]
    standin.finish_jobs()
    results = (await caller.v2("/query", taskId=task))["results"]
    return [(await caller.http.get(entry["url"])).content for entry in results if entry["nodeId"] == "9"]


async def test_twelve_different_real_pictures_the_same_every_time(
    standin: Any, restarted: Any, photo: bytes, key: str
) -> None:
    async with calling(standin.url, key) as caller, calling(restarted.url, key) as again:
        pictures = await pictures_of(caller, standin, photo)
        assert await pictures_of(again, standin, photo) == pictures
    assert len({hashlib.sha256(picture).digest() for picture in pictures}) == 12
    assert {max(Image.open(io.BytesIO(picture)).size) for picture in pictures} == {512}


async def test_a_url_is_good_until_it_expires(standin: Any, photo: bytes, key: str) -> None:
    async with calling(standin.url, key) as caller:
        task = (await caller.create(await caller.upload(photo)))["taskId"]
        standin.finish_jobs()
        standin.arm("query", "expired_urls")
        expired = (await caller.v2("/query", taskId=task))["results"][1]["url"]
        fresh = (await caller.v2("/query", taskId=task))["results"][1]["url"]
        assert (await caller.http.get(expired)).status_code == 403
        assert (await caller.http.get(fresh)).headers["content-type"] == "image/png"
        assert (await caller.http.get(fresh.replace("sign=", "sign=0"))).status_code == 403
        assert (await caller.http.get(fresh.replace("/files/", "/files/0"))).status_code == 404
        standin.clock.now += 86_401
        assert (await caller.http.get(fresh)).status_code == 403


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ({"kind": "missing"}, 404),
        ({"kind": "expired"}, 403),
        ({"kind": "error", "status": 503}, 503),
        ({"kind": "html"}, 200),
    ],
    ids=str,
)
async def test_files_that_go_wrong(fault: dict[str, Any], outcome: int, standin: Any, photo: bytes, key: str) -> None:
    async with calling(standin.url, key) as caller:
        task = (await caller.create(await caller.upload(photo)))["taskId"]
        standin.finish_jobs()
        url = (await caller.v2("/query", taskId=task))["results"][1]["url"]
        standin.arm("file", **fault)
        answer = await caller.http.get(url)
        assert answer.status_code == outcome
        assert answer.headers.get("content-type") != "image/png"
        assert (await caller.http.get(url)).headers["content-type"] == "image/png"


async def test_faults_are_armed_and_taken_back_over_http(standin: Any, photo: bytes, key: str) -> None:
    async with calling(standin.url, key) as caller:
        name = await caller.upload(photo)
        fault = {"on": "create", "code": "421", "times": 2}
        assert (await caller.http.post("/_sandbox/faults", json=fault)).status_code == 204
        assert (await caller.create(name))["errorCode"] == "421"
        await caller.http.delete("/_sandbox/faults")
        assert (await caller.create(name))["errorCode"] == ""
        for bad in ({"on": "create"}, {"on": "nowhere"}, {"on": "file", "kind": "tips"}, {"on": "job", "bits": 1}):
            assert (await caller.http.post("/_sandbox/faults", json=bad)).status_code == 422
        stats = await caller.stats()
    assert stats["creates"] == len(stats["jobs"]) == 1
    assert stats["uploads"] == 1


async def test_ids_are_not_used_again_after_a_restart(standin: Any, restarted: Any, photo: bytes, key: str) -> None:
    async with calling(standin.url, key) as caller, calling(restarted.url, key) as again:
        first = (await caller.create(await caller.upload(photo)))["taskId"]
        standin.clock.now += 0.01
        assert (await again.create(await again.upload(photo)))["taskId"] != first


@pytest.mark.parametrize(
    "body", [b"", b"--b\r\n\r\n--b--", b"--b\r\nX: y\r\n\r\nz\r\n--b", b"x\r\n--b--", b"--other\r\n\r\n--other--"]
)
def test_what_is_no_form(body: bytes) -> None:
    assert not parse_form(body, "b")


def test_forms_as_clients_write_them() -> None:
    content = b"\r\n--almost\r\n\x00\xff"
    request = httpx.Request("POST", "http://x", data={"apiKey": "k"}, files={"file": ("衣 服.png", content)})
    parts = parse_form(request.read(), boundary_of(request.headers["content-type"]))
    assert parts is not None
    assert [(part.name, part.body) for part in parts] == [("apiKey", b"k"), ("file", content)]
    assert parts[1].filename.endswith(".png")
