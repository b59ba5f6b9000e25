"""Inputs over the upload limit go as presigned URLs into a node of their own, which the vendor reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from messages.codes import Code
from sandbox.server import Server
from services.errors import VendorRefused
from services.vendors.port import JobRequest, JobState
from services.vendors.runninghub.client import Node, Workflow
from tests.contract.runninghub.calls import opened


@pytest.fixture
def store(photo: bytes) -> Iterator[str]:
    """URL of a photo that wants its signature."""

    async def serve(request: Request) -> Response:
        if request.query_params.get("sign") != "5161e0c3":
            return Response(status_code=403)
        return Response(photo, media_type="image/jpeg")

    with Server(Starlette(routes=[Route("/staging/photo.jpg", serve)])) as server:
        yield f"{server.url}/staging/photo.jpg"


@pytest.fixture
def workflows(workflows: dict[str, Workflow]) -> dict[str, Workflow]:
    pose = msgspec.structs.replace(workflows["model_pose12"], url_inputs={"photo": Node("11", "url")})
    return {"model_pose12": pose}


async def test_a_url_goes_to_the_node_for_urls_and_is_read(store: str, standin: Any, client_for: Any) -> None:
    url = f"{store}?sign=5161e0c3"
    async with opened(client_for(standin.url)) as client:
        job = (await client.create(JobRequest("model_pose12", {"photo": url}, {"prompt": "a://b"}), timeout=20.0)).id
        standin.finish_jobs()
        status = await client.query(job, kind="model_pose12")
    assert status.state is JobState.SUCCESS
    assert len(status.files) == 12
    assert standin.core.stats()["jobs"][0]["values"] == {"11.url": url, "6.text": "a://b"}


async def test_a_url_that_leads_nowhere_fails_the_job(store: str, standin: Any, client_for: Any) -> None:
    async with opened(client_for(standin.url)) as client:
        job = (await client.create(JobRequest("model_pose12", {"photo": f"{store}?sign=0"}), timeout=20.0)).id
        standin.finish_jobs()
        assert (await client.query(job)).state is JobState.FAILED


async def test_what_is_no_url_of_the_web_is_refused(standin: Any, client_for: Any) -> None:
    async with opened(client_for(standin.url)) as client:
        with pytest.raises(VendorRefused, match="803"):
            await client.create(JobRequest("model_pose12", {"photo": "file:///etc/passwd"}), timeout=20.0)
    assert standin.core.stats()["creates"] == 0


async def test_without_a_node_for_urls_nothing_is_sent_and_the_url_not_told(
    store: str, standin: Any, client_for: Any, workflows: dict[str, Workflow]
) -> None:
    bare = {"model_pose12": msgspec.structs.replace(workflows["model_pose12"], url_inputs={})}
    async with opened(client_for(standin.url, workflows=bare)) as client:
        with pytest.raises(VendorRefused, match=r"url_inputs\.photo") as caught:
            await client.create(JobRequest("model_pose12", {"photo": f"{store}?sign=5161e0c3"}), timeout=20.0)
    assert caught.value.code is Code.PICTURE_TOO_LARGE
    assert "/staging/" not in str(caught.value)
    assert standin.core.stats()["refused"] == 0


async def test_a_refusal_that_quotes_the_url_does_not_tell_it(store: str, standin: Any, client_for: Any) -> None:
    wrong = {"model_pose12": Workflow("1990000000000000012", {"photo": Node("10", "image")})}
    wrong["model_pose12"] = msgspec.structs.replace(wrong["model_pose12"], url_inputs={"photo": Node("11", store)})
    async with opened(client_for(standin.url, workflows=wrong)) as client:
        with pytest.raises(VendorRefused, match="803") as caught:
            await client.create(JobRequest("model_pose12", {"photo": f"{store}?sign=5161e0c3"}), timeout=20.0)
    assert "/staging/" not in str(caught.value)


def test_a_url_node_of_no_input_is_refused_at_start() -> None:
    file = b'{"workflow_id":"1","inputs":{"photo":{"node_id":"10","field":"image"}},"url_inputs":{"foto":%s}}'
    with pytest.raises(msgspec.ValidationError, match="url_inputs"):
        msgspec.json.decode(file % b'{"node_id":"11","field":"url"}', type=Workflow)
