"""An input over the vendor's upload limit goes as a URL that lives as long as the job may."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from messages.codes import Code
from recipes.model_pose12 import MODEL_POSE12
from services.errors import Denied, VendorRefused
from services.vendors.port import JobRequest
from tests.engine.harness import Harness
from tests.engine.standins import ScriptedVendor


class Narrow(ScriptedVendor):
    """Takes uploads of a few bytes only, and keeps what it was asked."""

    upload_limit = 100
    refuses_urls = False

    async def create(self, request: JobRequest, *, timeout: float) -> str:  # noqa: ASYNC109 - the port's word
        self.asked = request
        if self.refuses_urls:
            raise VendorRefused("no url_inputs.photo", code=Code.PICTURE_TOO_LARGE)
        return await super().create(request, timeout=timeout)


@pytest.fixture
def harness() -> Harness:
    harness = Harness()
    harness.vendor = Narrow(harness.injector, MODEL_POSE12.count)
    return harness


async def test_a_large_input_goes_as_a_url_that_nobody_logs(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "success")
    assert isinstance(harness.vendor, Narrow)
    url = harness.vendor.asked.inputs["photo"]
    assert harness.vendor.uploads == []
    (product,) = (await harness.records(run))["cleaned"]["products"]
    body = await harness.data.visit(url)
    assert len(body) == product["size"] > Narrow.upload_limit
    assert url not in caplog.text
    assert "expires=" not in caplog.text
    await asyncio.sleep(MODEL_POSE12.deadline_s)
    with pytest.raises(Denied, match="expired"):
        await harness.data.visit(url)


async def test_no_url_stands_in_any_record(harness: Harness) -> None:
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "success")
    assert b"memory://" not in msgspec.json.encode(await harness.records(run))


async def test_a_workflow_without_a_node_for_urls_fails_the_run_unpaid(harness: Harness) -> None:
    assert isinstance(harness.vendor, Narrow)
    harness.vendor.refuses_urls = True
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "failed", Code.PICTURE_TOO_LARGE)
    assert harness.vendor.paid == []
