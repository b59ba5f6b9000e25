"""Ark's client and stand-in inside the engine, on virtual time: a paid picture is paid once, whatever is answered."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest

from messages.codes import Code, text_of
from recipes.model_pose12 import MODEL_POSE12
from sandbox.ark import Core, Fault, KeyLimits, create_app, handlers
from sandbox.ark.pictures import Pictures
from services.objects.memory import MemoryObjects
from services.vendors.ark.client import Ark
from telemetry.secrets import Secret
from tests.engine.harness import Harness, photo
from tests.engine.standins import FILES_HOST
from tests.engine.virtual import Inline, wall

KIND: Final = "model_pose12"
KEY: Final = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
PICTURES: Final = msgspec.structs.replace(
    MODEL_POSE12,
    vendor="ark",
    synchronous=True,
    count=1,
    slots=lambda _: 4,
    enough=lambda _, slots: min(3, slots),
    values=lambda _: {"prompt": "海边的模特", "size": "1024x1024"},
)


class ArkSetup:
    """The harness, and the stand-in that its vendor is."""

    def __init__(self, harness: Harness, core: Core) -> None:
        self.harness = harness
        self.core = core

    def arm(self, kind: str = "answer", **more: Any) -> None:
        self.core.arm(Fault(on="create", kind=kind, **more))

    @property
    def counts(self) -> tuple[int, int]:
        """Requests for a picture, and pictures charged."""
        stats = self.core.stats()
        return stats["creates"], stats["charged"]


@pytest.fixture
def harness() -> Harness:
    return Harness(recipes={KIND: PICTURES})


@pytest.fixture
def ark(harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArkSetup:
    async def presign(_: MemoryObjects, key: str, **__: Any) -> str:
        return f"https://cos.example/{key}?sign=1"

    async def read(url: str) -> bytes:
        assert re.fullmatch(r"https://cos\.example/staging/.*\?sign=1", url)
        return photo()

    monkeypatch.setattr(MemoryObjects, "presign", presign)
    monkeypatch.setattr(handlers, "read_url", read)
    # No file: it would block the loop.
    monkeypatch.setattr(Pictures, "keep", lambda *_: "photo")
    app = create_app(
        api_keys={KEY: KeyLimits()},
        data_dir=tmp_path,
        duration_s=20.0,
        clock=wall,
        public_url=f"https://{FILES_HOST}",
        executor=Inline(),
    )
    harness.vendors["ark"] = Ark(
        base_url="https://ark.example",
        api_key=Secret(KEY),
        model="doubao-seedream-4-0-250828",
        transport=lambda: httpx.ASGITransport(app),
    )
    return ArkSetup(harness, app.state.core)


async def ends(ark: ArkSetup, status: str, code: str = "") -> Any:
    run = await ark.harness.order()
    await ark.harness.drain()
    return await ark.harness.promise(run, status, code)


async def test_four_slots_are_four_calls_with_the_photo(harness: Harness, ark: ArkSetup) -> None:
    verdict = await ends(ark, "success")
    assert (len(verdict.manifest), verdict.degraded) == (4, ())
    assert ark.counts == (4, 4)
    assert [paid["references"] for paid in ark.core.stats()["pictures"]] == [1] * 4


async def test_a_picture_that_failed_leaves_the_others(harness: Harness, ark: ArkSetup) -> None:
    ark.arm("item_error", code="InternalServiceError")
    verdict = await ends(ark, "success")
    assert (len(verdict.manifest), verdict.degraded) == (3, ("fewer_results",))
    assert ark.counts == (4, 3)


async def test_a_lost_answer_is_never_sent_again(harness: Harness, ark: ArkSetup) -> None:
    ark.arm("error", accepted=True)
    verdict = await ends(ark, "success")
    assert len(verdict.manifest) == 3
    assert ark.counts == (4, 4)


async def test_a_full_vendor_is_waited_for_as_long_as_it_asks(harness: Harness, ark: ArkSetup) -> None:
    ark.arm(code="ModelAccountIpmRateLimitExceeded", retry_after=240, times=4)
    began = harness.now()
    await ends(ark, "success")
    assert harness.now() - began > 240
    assert ark.counts[1] == 4
    # After one worker knows it, the others do not ask.
    assert ark.counts[0] < 12


async def test_refused_content_fails_the_task_and_costs_nothing(harness: Harness, ark: ArkSetup) -> None:
    ark.arm(code="InputImageSensitiveContentDetected", times=4)
    await ends(ark, "failed", Code.CONTENT_VIOLATION)
    assert ark.counts[1] == 0
    assert text_of(Code.CONTENT_VIOLATION) == "内容违规"


async def test_a_spend_cap_fails_the_task_at_once(harness: Harness, ark: ArkSetup) -> None:
    ark.arm(code="SetLimitExceeded", times=4)
    await ends(ark, "failed", Code.VENDOR_REFUSED)
    assert ark.counts[1] == 0


async def test_a_key_that_is_refused_for_a_while_costs_no_task(harness: Harness, ark: ArkSetup) -> None:
    ark.core.arm(Fault(on="key", code="AuthenticationError", seconds=300))
    verdict = await ends(ark, "success")
    assert len(verdict.manifest) == 4
    assert ark.counts == (4, 4)


async def test_a_size_that_the_model_refuses_is_never_sent(harness: Harness, ark: ArkSetup) -> None:
    harness.vendors["ark"]._model = "doubao-seedream-4-5-251128"  # type: ignore[attr-defined]
    await ends(ark, "failed", Code.BAD_PARAMETERS)
    assert ark.counts == (0, 0)


async def test_more_pictures_than_asked_for_are_a_bad_slot(harness: Harness, ark: ArkSetup) -> None:
    ark.arm("more")
    verdict = await ends(ark, "success")
    assert (len(verdict.manifest), verdict.degraded) == (3, ("fewer_results",))
    assert ark.counts == (4, 5)
