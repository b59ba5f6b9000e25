"""VOD's client and stand-in inside the engine, on virtual time: a lost answer is found, and paid once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest

from consumers.stages.generate import OPEN_MARGIN_S
from messages.codes import Code
from recipes.model_pose12 import MODEL_POSE12
from sandbox.vod import Account, Core, Fault, create_app, handlers
from sandbox.vod.pictures import Pictures
from services.objects.credentials import Credentials
from services.objects.memory import MemoryObjects
from services.vendors.vod.client import Vod
from telemetry.secrets import Secret
from tests.engine.harness import Harness, photo
from tests.engine.standins import FILES_HOST
from tests.engine.virtual import Inline, wall

KIND: Final = "model_pose12"
KEYS: Final = Credentials(Secret("AKIDrole0123456789"), Secret("secret-of-the-role"), Secret("sts-token"))
PICTURES: Final = msgspec.structs.replace(
    MODEL_POSE12, vendor="vod", count=1, values=lambda _: {"prompt": "海边的模特", "size": "1K", "format": "jpeg"}
)
OPEN_S: Final = PICTURES.create_limit_s + OPEN_MARGIN_S


class VodSetup:
    """The harness, and the stand-in that its vendor is."""

    def __init__(self, harness: Harness, core: Core) -> None:
        self.harness = harness
        self.core = core

    def arm(self, on: str, kind: str = "answer", **more: Any) -> None:
        self.core.arm(Fault(on=on, kind=kind, **more))  # type: ignore[arg-type] # what is armed is checked by Fault

    @property
    def counts(self) -> tuple[int, int, int]:
        """Creates, jobs, and creates refused as duplicates."""
        stats = self.core.stats()
        return stats["creates"], len(stats["jobs"]), stats["duplicates"]


@pytest.fixture
def harness() -> Harness:
    return Harness(recipes={KIND: PICTURES})


@pytest.fixture
def vod(harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VodSetup:
    async def presign(_: MemoryObjects, key: str, **__: Any) -> str:
        return f"https://cos.example/{key}?sign=1"

    async def read(_: str) -> bytes:
        return photo()

    monkeypatch.setattr(MemoryObjects, "presign", presign)
    monkeypatch.setattr(handlers, "read_url", read)
    # No file: it would block the loop.
    monkeypatch.setattr(Pictures, "keep", lambda *_: "photo")
    account = Account(secret_key=KEYS.secret_key.reveal(), token=KEYS.token.reveal(), application=7)
    app = create_app(
        accounts={KEYS.secret_id.reveal(): account},
        data_dir=tmp_path,
        duration_s=40.0,
        clock=wall,
        public_url=f"https://{FILES_HOST}",
        executor=Inline(),
    )
    harness.vendors["vod"] = Vod(
        base_url="https://vod.example",
        credentials=lambda: KEYS,
        sub_app_id=7,
        model="GG-3.1",
        clock=wall,
        transport=lambda: httpx.ASGITransport(app),
    )
    return VodSetup(harness, app.state.core)


async def ends(vod: VodSetup, status: str, code: str = "") -> Any:
    run = await vod.harness.order()
    await vod.harness.drain()
    return await vod.harness.promise(run, status, code)


async def test_a_picture_is_one_job_with_the_identity_of_its_call(harness: Harness, vod: VodSetup) -> None:
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "success")
    (job,) = vod.core.stats()["jobs"]
    assert (job["session"], job["references"]) == (harness.out.identities.of(run, 1, 1), 1)
    assert vod.counts == (1, 1, 0)


async def test_an_answer_lost_after_acceptance_is_found_at_once(harness: Harness, vod: VodSetup) -> None:
    vod.arm("create", "error", accepted=True)
    await ends(vod, "success")
    assert vod.counts == (1, 1, 0)


async def test_a_create_lost_on_its_way_is_sent_once_more(harness: Harness, vod: VodSetup) -> None:
    vod.arm("create", "error")
    await ends(vod, "success")
    assert vod.counts == (2, 1, 0)


async def test_a_list_that_lags_makes_a_duplicate_and_no_second_job(harness: Harness, vod: VodSetup) -> None:
    vod.arm("create", "error", accepted=True)
    # The first call of a process looks into the list too, to see that its credentials are taken.
    vod.arm("list", "lags", times=2)
    await ends(vod, "success")
    assert vod.counts == (2, 1, 1)


async def test_a_list_that_lags_for_longer_is_asked_until_the_call_would_count_as_unknown(
    harness: Harness, vod: VodSetup
) -> None:
    vod.arm("create", "error", accepted=True)
    vod.arm("list", "lags", seconds=OPEN_S - 20)
    await ends(vod, "success")
    assert vod.counts == (2, 1, 1)


async def test_a_list_that_never_shows_the_job_is_paid_once_and_refunded(harness: Harness, vod: VodSetup) -> None:
    vod.arm("create", "error", accepted=True)
    vod.arm("list", "lags", times=1_000_000)
    await ends(vod, "failed", Code.VENDOR_UNKNOWN)
    assert vod.counts == (2, 1, 1)


async def test_not_found_never_permits_another_call(harness: Harness, vod: VodSetup) -> None:
    vod.arm("create", "error", times=1_000_000)
    await ends(vod, "failed", Code.VENDOR_UNKNOWN)
    assert vod.counts == (2, 0, 0)


async def test_a_full_vendor_is_another_call_with_an_identity_of_its_own(harness: Harness, vod: VodSetup) -> None:
    vod.arm("create", code="RequestLimitExceeded", times=3)
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "success")
    (job,) = vod.core.stats()["jobs"]
    assert job["session"] == harness.out.identities.of(run, 1, 4)


async def test_refused_content_fails_the_task(harness: Harness, vod: VodSetup) -> None:
    vod.arm("create", "job_fails", code="ContentModerationFailed")
    await ends(vod, "failed", Code.CONTENT_VIOLATION)


async def test_a_role_without_rights_for_a_while_costs_no_task(harness: Harness, vod: VodSetup) -> None:
    vod.arm("list", code="UnauthorizedOperation", seconds=300)
    await ends(vod, "success")
    assert vod.counts == (1, 1, 0)
