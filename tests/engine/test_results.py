"""A paid job's results are stored in the end, whatever the vendor's file host answers meanwhile."""

from __future__ import annotations

import asyncio
import io
import itertools
import struct
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from messages.codes import Code
from services.errors import AuditDown, ObjectsDown, VendorDown
from services.objects.port import Result
from services.vendors.port import JobFile, JobStatus
from tests.engine.fault_injector import raises
from tests.engine.harness import Harness, photo
from tests.engine.standins import JPEG, JPEG_END, Plan
from tests.engine.virtual import wall

Answer = Callable[[bytes], httpx.Response]
CLEAN = Result(violation=False, suspect=False, label="Normal", score=0)
HEAD = {"Content-Type": "image/jpeg"}


class Stream(httpx.AsyncByteStream):
    """A body whose length is not said; cut, it breaks off in the middle."""

    def __init__(self, body: bytes, *, cut: bool = False) -> None:
        self._body = body
        self._cut = cut

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body[: len(self._body) // 2]
        if self._cut:
            raise httpx.RemoteProtocolError("peer closed connection")
        yield self._body[len(self._body) // 2 :]


def picture(request: httpx.Request) -> bytes:
    return JPEG + request.url.path.encode() + JPEG_END


def odd(harness: Harness, *answers: Answer, path: str = "/3.jpg") -> list[float]:
    """Let a file's host answer like this first, and with the file after them; returns the times of its requests."""
    times: list[float] = []
    left = list(answers)
    inner = harness.files._answer

    async def answer(request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith(path):
            return await inner(request)
        times.append(wall())
        return left.pop(0)(picture(request)) if left else await inner(request)

    harness.files._answer = answer  # type: ignore[method-assign]
    return times


ONCE: dict[str, Answer] = {
    "chunked": lambda body: httpx.Response(200, headers={"Transfer-Encoding": "chunked"}, stream=Stream(body)),
    "close-delimited": lambda body: httpx.Response(200, headers=HEAD, stream=Stream(body)),
    "called text": lambda body: httpx.Response(200, headers={"Content-Type": "text/plain"}, stream=Stream(body)),
    "called html": lambda body: httpx.Response(200, headers={"Content-Type": "text/html"}, stream=Stream(body)),
}

ODD: dict[str, Answer] = {
    "an error page": lambda _: httpx.Response(200, stream=Stream(b"<html>" + bytes(99))),
    "nothing": lambda _: httpx.Response(200, headers=HEAD, stream=Stream(b"")),
    "gzip": lambda body: httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=Stream(body)),
    "a login": lambda _: httpx.Response(302, headers={"Location": "https://login.example/"}),
    "400": lambda _: httpx.Response(400),
    "401": lambda _: httpx.Response(401),
    "403": lambda _: httpx.Response(403),
    "404": lambda _: httpx.Response(404),
}

OUTAGES: dict[str, Answer] = {
    "500": lambda _: httpx.Response(500),
    "503": lambda _: httpx.Response(503),
    "429": lambda _: httpx.Response(429),
    "cut": lambda body: httpx.Response(
        200, headers={**HEAD, "Content-Length": str(len(body))}, stream=Stream(body, cut=True)
    ),
    "cut, without a length": lambda body: httpx.Response(200, headers=HEAD, stream=Stream(body[:-9])),
}


@pytest.mark.parametrize("name", ONCE)
async def test_a_good_file_is_taken_at_once_however_it_is_sent_and_called(harness: Harness, name: str) -> None:
    run = await harness.order()
    times = odd(harness, ONCE[name])
    await harness.drain()
    await harness.promise(run, "success")
    assert len(times) == 1


@pytest.mark.parametrize("name", ODD)
async def test_one_odd_answer_does_not_end_the_job(harness: Harness, name: str) -> None:
    run = await harness.order()
    odd(harness, *[ODD[name]] * 4)
    await harness.drain()
    await harness.promise(run, "success")
    assert len(harness.vendor.paid) == 1


@pytest.mark.parametrize("name", ODD)
async def test_five_odd_answers_over_at_least_two_minutes_do(harness: Harness, name: str) -> None:
    run = await harness.order()
    times = odd(harness, *[ODD[name]] * 99)
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_FAILED)
    assert len(times) == 5
    assert times[-1] - times[0] >= 120


@pytest.mark.parametrize("name", OUTAGES)
async def test_an_outage_of_the_file_host_spends_no_attempt(harness: Harness, name: str) -> None:
    run = await harness.order()
    odd(harness, *[OUTAGES[name]] * 20)
    await harness.drain()
    await harness.promise(run, "success")
    assert {header.attempt for header in harness.sent("collect")} == {0}
    assert await harness.dead_letters() == []


async def test_an_outage_of_the_file_host_is_waited_for_until_the_deadline(harness: Harness) -> None:
    run = await harness.order()
    times = odd(harness, *[OUTAGES["503"]] * 10_000)
    await harness.drain()
    await harness.promise(run, "failed", Code.TIMEOUT)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert min(gaps) >= 15
    assert max(gaps[:-1]) <= 60


@pytest.mark.parametrize(
    "where", ["files.get .*/3", "vendor.upload", "objects.audit"], ids=["refused", "upload", "audit"]
)
async def test_outages_of_anything_outside_spend_no_attempt(harness: Harness, where: str) -> None:
    error = {"files.get .*/3": httpx.ConnectError("refused"), "vendor.upload": VendorDown("HTTP 500")}.get(
        where, AuditDown("InternalError")
    )
    run = await harness.order()
    harness.injector.strike(where, *[raises(error)] * 12)
    await harness.drain()
    await harness.promise(run, "success")
    assert {sent.header.attempt for sent in harness.wire.sent} == {0}


async def test_a_name_that_does_not_resolve_spends_no_attempt(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await harness.order()
    left = [OSError("no such name")] * 12

    async def resolve(host: str, port: int) -> list[str]:
        if left:
            raise left.pop()
        return ["93.184.215.14"]

    monkeypatch.setattr(harness.out.fetcher, "_resolve", resolve)
    await harness.drain()
    await harness.promise(run, "success")
    assert {header.attempt for header in harness.sent("collect")} == {0}


@pytest.mark.parametrize("shown", [0, 2, 99])
async def test_results_that_come_after_success_are_waited_for(
    harness: Harness, shown: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await harness.order()
    query, first = harness.vendor.query, 0.0

    async def late(job_id: str, *, kind: str = "") -> JobStatus:
        nonlocal first
        status = await query(job_id, kind=kind)
        first = first or (wall() if status.files else 0.0)
        files = status.files[:shown] if shown < 99 else (*status.files, status.files[0])
        return status if not first or wall() - first > 40 else JobStatus(status.state, files)

    monkeypatch.setattr(harness.vendor, "query", late)
    await harness.drain()
    await harness.promise(run, "success")


async def test_results_that_stay_incomplete_for_a_minute_end_the_job(harness: Harness) -> None:
    harness.vendor.plans.append(Plan(files=11))
    run = await harness.order()
    delivery, consumer = await harness.until("poll")
    before = wall()
    await harness.run(delivery, consumer)
    await harness.drain()
    await harness.promise(run, "failed", Code.INCOMPLETE_RESULTS)
    assert 60 <= wall() - before < 120


async def test_a_file_that_only_looks_like_a_picture_is_fetched_again_and_is_no_outage_of_the_audit(
    harness: Harness,
) -> None:
    """Its structure is right and its pixels are not, so that only a decoder finds the fault."""
    run = await harness.order()
    real = photo()
    broken = odd(
        harness, *[lambda _: httpx.Response(200, headers=HEAD, stream=Stream(JPEG + b"broken" + JPEG_END))] * 2
    )
    inner = harness.files._answer

    async def answer(request: httpx.Request) -> httpx.Response:
        found = await inner(request)
        return found if len(broken) <= 2 and request.url.path.endswith("/3.jpg") else ONCE["chunked"](real)

    harness.files._answer = answer  # type: ignore[method-assign]

    def audit(key: str, body: bytes) -> Result:
        if b"broken" in body:
            raise AuditDown("InvalidPicture", key=key)
        return CLEAN

    harness.data._audit = audit
    await harness.drain()
    await harness.promise(run, "success")
    assert len(broken) == 3
    assert {header.attempt for header in harness.sent("collect")} == {0, 1, 2}


# ---- what is shown of a file -------------------------------------------------------------------------------------

SECRET = b"31.2304 N, 121.4737 E"
ARCHIVE = b"PK\x03\x04 an archive that hangs behind the picture"


def burdened(body: bytes) -> httpx.Response:
    """The picture with EXIF in front and an archive behind it."""
    exif = struct.pack(">BBH", 0xFF, 0xE1, 8 + len(SECRET)) + b"Exif\0\0" + SECRET
    return httpx.Response(200, headers=HEAD, stream=Stream(body[:2] + exif + body[2:] + ARCHIVE))


async def shown(harness: Harness, key: str) -> bytes:
    return (await harness.data.get(key)).body


async def test_a_result_is_shown_without_its_metadata_and_what_hangs_behind_it(harness: Harness) -> None:
    run = await harness.order()
    odd(harness, burdened)
    await harness.drain()
    verdict = await harness.promise(run, "success")
    assert await shown(harness, verdict.manifest[2].target) == JPEG + b"/job1/3.jpg" + JPEG_END


async def test_a_label_of_ai_made_content_outlives_a_conversion(harness: Harness) -> None:
    label = '<TC260:AIGC>{"Label":"1","ContentProducer":"vendor"}</TC260:AIGC>'
    info, saved = PngInfo(), io.BytesIO()
    info.add_itxt("XML:com.adobe.xmp", f"<x:xmpmeta>{label}{SECRET.decode()}</x:xmpmeta>")
    Image.new("RGB", (30, 40)).save(saved, "PNG", pnginfo=info)
    run = await harness.order()
    odd(harness, lambda _: httpx.Response(200, headers={"Content-Type": "image/png"}, stream=Stream(saved.getvalue())))
    await harness.drain()
    verdict = await harness.promise(run, "success")
    converted = await shown(harness, verdict.manifest[2].target)
    assert converted.startswith(b"\xff\xd8\xff")
    assert b"ContentProducer" in converted
    assert SECRET not in converted


async def test_a_picture_as_long_as_a_video_is_refused_at_once(harness: Harness) -> None:
    run = await harness.order()
    headers = {**HEAD, "Content-Length": str((32 << 20) + 1)}
    times = odd(harness, lambda body: httpx.Response(200, headers=headers, stream=Stream(body)))
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_FAILED)
    assert len(times) == 1


async def test_a_file_that_drips_leaves_time_for_another_try(harness: Harness) -> None:
    """Each of its pauses is short, and all of them together are longer than the stage's limit."""

    class Dripping(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield JPEG
            for _ in range(100):
                await asyncio.sleep(20)
                yield b"x"

    run = await harness.order()
    times = odd(harness, lambda _: httpx.Response(200, headers=HEAD, stream=Dripping()))
    await harness.drain()
    await harness.promise(run, "success")
    limit = harness.recipes["model_pose12"].collect_limit_s
    assert len(times) == 2
    assert times[1] - times[0] < limit
    assert {header.attempt for header in harness.sent("collect")} == {0}


# ---- progress ----------------------------------------------------------------------------------------------------


async def test_the_clean_path_writes_no_record_of_progress(harness: Harness) -> None:
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "success")
    assert not [name for name in await harness.records(run) if name.startswith("collected-")]
    assert harness.injector.count("ledger.(get|list) .*collected-") == 0


async def test_a_try_that_leaves_off_is_taken_over_by_the_next(harness: Harness) -> None:
    run = await harness.order()
    odd(harness, *[OUTAGES["503"]] * 2)
    await harness.drain()
    verdict = await harness.promise(run, "success")
    # Every file came once, and the one that was away once more for each of its tries.
    assert [harness.injector.count(rf"files.get /job1/{n}\.jpg$") for n in range(1, 13)] == [1] * 12
    records = await harness.records(run)
    assert {name for name in records if name.startswith("collected-")} == {"collected-0", "collected-1"}
    assert len(records["collected-1"]["files"]) == 11
    assert [item.target[-6:-4] for item in verdict.manifest] == [f"{n:02d}" for n in range(1, 13)]


async def test_files_are_known_by_their_path_not_by_number_or_signature(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await harness.order()
    odd(harness, OUTAGES["503"])
    query, looks = harness.vendor.query, 0

    async def shuffled(job_id: str, *, kind: str = "") -> JobStatus:
        nonlocal looks
        looks += 1
        status = await query(job_id, kind=kind)
        files = tuple(JobFile(f"{file.url}?sign={looks}", file.type) for file in status.files)
        return JobStatus(status.state, files if looks % 2 else files[::-1])

    monkeypatch.setattr(harness.vendor, "query", shuffled)
    await harness.drain()
    await harness.promise(run, "success")
    assert sum(harness.injector.count(rf"files.get /job1/{n}\.jpg$") for n in range(1, 13)) == 12


async def test_files_that_share_a_path_are_not_taken_for_each_other(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await harness.order()
    query = harness.vendor.query

    async def by_query(job_id: str, *, kind: str = "") -> JobStatus:
        status = await query(job_id, kind=kind)
        files = tuple(
            JobFile(f"{file.url.rpartition('/')[0]}/view?n={n}", file.type) for n, file in enumerate(status.files)
        )
        return JobStatus(status.state, files)

    monkeypatch.setattr(harness.vendor, "query", by_query)
    odd(harness, OUTAGES["503"], path="/view")
    await harness.drain()
    verdict = await harness.promise(run, "success")
    assert len({item.source for item in verdict.manifest}) == 12


@pytest.mark.parametrize("place", ["objects.audit .*/frame_", "ledger.put_new .*/verdict$"])
async def test_what_is_staged_is_kept_when_what_follows_fails(harness: Harness, place: str) -> None:
    run = await harness.order()
    harness.injector.strike(place, *[raises(ObjectsDown("away"))] * 3)
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.injector.count("files.get") == 12


async def test_a_worker_that_is_stopped_keeps_what_it_has_staged(harness: Harness) -> None:
    run = await harness.order()
    delivery, consumer = await harness.until("collect")

    async def wait() -> None:
        await asyncio.sleep(50)

    harness.injector.strike("files.get .*/12", wait)
    work = asyncio.create_task(harness.engine.run_one(delivery, consumer))
    await asyncio.sleep(10)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    assert len((await harness.records(run))["collected-0"]["files"]) == 11
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.injector.count("files.get") == 13


async def test_a_collect_that_is_slow_leaves_off_within_its_limit_and_goes_on(harness: Harness) -> None:
    run = await harness.order()

    async def slow() -> None:
        await asyncio.sleep(59)

    harness.injector.strike("files.get", *[slow] * 24)
    await harness.drain()
    await harness.promise(run, "success")
    assert {header.attempt for header in harness.sent("collect")} == {0}
    assert harness.injector.count("files.get") < 24


async def test_promotion_goes_on_where_it_stopped(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike(r"objects.copy output/.*(03|07)", *[raises(ObjectsDown("away"))] * 12)
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.injector.count("objects.copy") == 10 + 12 + 2


async def test_a_copy_that_fails_once_is_tried_again_by_itself(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike(r"objects.copy output/.*(03|07)", *[raises(ObjectsDown("away"))] * 2)
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.injector.count("objects.copy") == 14
    assert not harness.sent("notify")
