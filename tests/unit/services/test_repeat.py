"""A request that failed at once is repeated, unless a quick repeat cannot help."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import (
    BackendDown,
    CreateUnknown,
    Denied,
    Exists,
    Forbidden,
    ObjectsDown,
    VendorDown,
    VendorFull,
    VendorMissing,
)
from services.repeat import LONGEST_WAIT_S, opened, pause_s, repeated
from telemetry import metrics
from telemetry.instruments import Metric
from tests.engine.virtual import virtually


class Request:
    """Fails as scripted, then answers."""

    def __init__(self, *errors: Exception, takes: float = 0.0) -> None:
        self._errors = [*errors]
        self._takes = takes
        self.made = 0

    async def __call__(self) -> str:
        self.made += 1
        await asyncio.sleep(self._takes)
        if self._errors:
            raise self._errors.pop(0)
        return "answer"


def on_virtual_time(request: Request, after: Callable[[float], None] = lambda _: None) -> str:
    answers: list[str] = []

    async def body() -> None:
        answers.append(await repeated(request, random.Random(1)))
        after(asyncio.get_running_loop().time())

    virtually(body)
    return answers[0]


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_two_quick_failures_are_no_outage(failures: int) -> None:
    request, took = Request(*[ObjectsDown("503")] * failures), list[float]()
    assert on_virtual_time(request, took.append) == "answer"
    assert request.made == failures + 1
    assert took[0] <= 2


def test_three_are() -> None:
    request = Request(*[ObjectsDown("503")] * 3)
    with pytest.raises(ObjectsDown):
        on_virtual_time(request)
    assert request.made == 3


@pytest.mark.parametrize(
    "error",
    [Denied("403"), Forbidden("403"), ObjectsDown("503", retry_after=9.0), Exists("there"), ValueError("defect")],
)
def test_what_no_quick_repeat_can_help_is_raised_at_once(error: Exception) -> None:
    request = Request(error)
    with pytest.raises(type(error)):
        on_virtual_time(request)
    assert request.made == 1


def test_a_store_that_hangs_is_not_asked_again() -> None:
    request = Request(ObjectsDown("no answer"), takes=10.0)
    with pytest.raises(ObjectsDown):
        on_virtual_time(request)
    assert request.made == 1


@pytest.mark.parametrize("error", [VendorDown("502"), BackendDown("503"), ObjectsDown("503", retry_after=2.0)])
def test_every_service_has_the_one_rule(error: Exception) -> None:
    request, took = Request(error), list[float]()
    assert on_virtual_time(request, took.append) == "answer"
    assert request.made == 2
    assert took[0] <= 2


@pytest.mark.parametrize(
    "error",
    [
        VendorMissing("no key here"),
        VendorFull("no room"),
        CreateUnknown("sent"),
        BackendDown("401", refused=True),
        VendorDown("429", retry_after=2.1),
    ],
)
def test_an_answer_that_stands_ends_the_tries(error: Exception) -> None:
    request = Request(error)
    with pytest.raises(type(error)):
        on_virtual_time(request)
    assert request.made == 1


def test_a_later_try_that_asks_for_a_long_wait_is_the_last() -> None:
    request = Request(VendorDown("502"), VendorDown("429", retry_after=30.0), VendorDown("502"))
    with pytest.raises(VendorDown, match="429"):
        on_virtual_time(request)
    assert request.made == 2


@given(failures=st.integers(1, 9), asked=st.none() | st.floats(0, LONGEST_WAIT_S), seed=st.integers(0, 999))
def test_pauses_are_short_jittered_and_as_long_as_was_asked_for(failures: int, asked: float | None, seed: int) -> None:
    pause = pause_s(failures, VendorDown("busy", retry_after=asked), random.Random(seed))
    assert max(0.15, asked or 0.0) <= pause <= LONGEST_WAIT_S


def test_repeats_are_counted_by_service() -> None:
    sink = CollectingSink()
    before = metrics.install(sink)
    try:
        on_virtual_time(Request(VendorDown("502"), VendorDown("502")))
    finally:
        metrics.install(before)
    assert sink.counted == [(Metric.REPEATED, 1, {"service": "vendor"})] * 2


def test_a_download_is_opened_again_and_its_use_is_not() -> None:
    opens, uses = list[str](), list[str]()

    @asynccontextmanager
    async def download() -> AsyncGenerator[str]:
        opens.append("open")
        if len(opens) == 1:
            raise ObjectsDown("503")
        yield "body"

    async def body() -> None:
        async with opened(download, random.Random(1)) as found:
            uses.append(found)
            raise VendorDown("the upload broke off")

    with pytest.raises(VendorDown):
        virtually(body)
    assert (opens, uses) == (["open", "open"], ["body"])


class CollectingSink:
    """Keeps what is counted."""

    def __init__(self) -> None:
        self.counted: list[tuple[Metric, float, Mapping[str, str]]] = []

    def count(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        self.counted.append((metric, value, labels))

    def observe(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None: ...

    def level(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None: ...
