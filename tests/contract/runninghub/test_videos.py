"""Videos: a workflow of its own for an input that is one, and a result that stands beside its preview."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from PIL import Image

from messages.codes import Code
from sandbox.video import encode, probe
from services.errors import VendorRefused
from services.vendors.port import JobRequest, JobState
from services.vendors.runninghub.client import Workflow
from tests.contract.runninghub.calls import opened

FILE = Path(__file__).parents[3] / "sandbox/workflows/video_tryon.json"


class Bytes:
    def __init__(self, body: bytes) -> None:
        self.body, self.size = body, len(body)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.body


@pytest.fixture
def workflows(workflows: dict[str, Workflow]) -> dict[str, Workflow]:
    return {**workflows, "video_tryon": msgspec.json.decode(FILE.read_bytes(), type=Workflow)}


@pytest.fixture
def person(tmp_path: Path) -> bytes:
    path = tmp_path / "person.mp4"
    encode((Image.new("RGB", (96, 128), (n * 9, 40, 90)) for n in range(24)), path)
    return path.read_bytes()


async def _run(client: Any, standin: Any, person: bytes, name: str, kind: str, photo: bytes) -> Any:
    first = await client.upload(Bytes(person), filename=name, content_type=kind)
    second = await client.upload(Bytes(photo), filename="garment.jpg", content_type="image/jpeg")
    videos = frozenset({"person"}) if kind.startswith("video/") else frozenset[str]()
    request = JobRequest("video_tryon", {"person": first, "garment": second}, {"prompt": "turning"}, videos=videos)
    job = (await client.create(request, timeout=20.0)).id
    standin.finish_jobs()
    return await client.query(job, kind="video_tryon")


async def test_a_video_is_run_by_its_own_workflow_and_comes_without_its_preview(
    standin: Any, client_for: Any, photo: bytes, person: bytes
) -> None:
    async with opened(client_for(standin.url)) as client:
        status = await _run(client, standin, person, "person.mp4", "video/mp4", photo)
    assert (status.state, [file.type for file in status.files]) == (JobState.SUCCESS, ["mp4"])
    (job,) = standin.core.stats()["jobs"]
    assert (job["workflow"], sorted(job["values"])) == ("1990000000000000022", ["12.video", "20.image", "6.text"])
    async with httpx.AsyncClient(trust_env=False, timeout=20.0) as plain:
        answer = await plain.get(status.files[0].url)
    assert answer.headers["content-type"] == "video/mp4"
    found = await asyncio.to_thread(probe, io.BytesIO(answer.content))
    assert (found.codec, found.frames, found.seconds) == ("h264", 48, 2.0)


async def test_a_picture_of_the_person_is_run_by_the_other(standin: Any, client_for: Any, photo: bytes) -> None:
    async with opened(client_for(standin.url)) as client:
        status = await _run(client, standin, photo, "person.jpg", "image/jpeg", photo)
    assert [file.type for file in status.files] == ["mp4"]
    (job,) = standin.core.stats()["jobs"]
    assert (job["workflow"], sorted(job["values"])) == ("1990000000000000021", ["10.image", "20.image", "6.text"])


async def test_a_picture_in_the_place_of_a_video_fails_the_job(standin: Any, client_for: Any, photo: bytes) -> None:
    async with opened(client_for(standin.url)) as client:
        status = await _run(client, standin, photo, "person.mp4", "video/mp4", photo)
    assert (status.state, "VHS_LoadVideo" in status.reason) == (JobState.FAILED, True)


async def test_a_kind_without_such_a_workflow_takes_no_video(standin: Any, client_for: Any) -> None:
    request = JobRequest("model_pose12", {"photo": "openapi/x.mp4"}, videos=frozenset({"photo"}))
    async with opened(client_for(standin.url)) as client:
        with pytest.raises(VendorRefused, match="with a video"):
            await client.create(request, timeout=20.0)


async def test_a_large_video_without_a_node_for_its_url_is_refused(
    standin: Any, client_for: Any, workflows: dict[str, Workflow]
) -> None:
    tryon = workflows["video_tryon"]
    assert tryon.with_video is not None
    without = msgspec.structs.replace(tryon.with_video, url_inputs={})
    changed = {"video_tryon": msgspec.structs.replace(tryon, with_video=without)}
    inputs = {"person": "https://cos.example/p.mp4", "garment": "openapi/g.jpg"}
    request = JobRequest("video_tryon", inputs, videos=frozenset({"person"}))
    async with opened(client_for(standin.url, workflows=changed)) as client:
        with pytest.raises(VendorRefused) as caught:
            await client.create(request, timeout=20.0)
    assert caught.value.code is Code.VIDEO_TOO_LARGE


@pytest.mark.parametrize("change", [{"outputs": ["41"]}, {"types": []}, {"with_video": {}}])
def test_both_workflows_must_bring_results_alike(change: dict[str, Any]) -> None:
    document = json.loads(FILE.read_bytes())
    inner = {**document["with_video"], **change}
    if "with_video" in change:
        inner["with_video"] = dict(document["with_video"])
    with pytest.raises(msgspec.ValidationError, match="with_video must have"):
        msgspec.convert({**document, "with_video": inner}, Workflow)
