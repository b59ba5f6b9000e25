"""`kill -9` at every named point of a run, in real processes: after a restart all is as if nothing had happened."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from messages.codes import Code
from telemetry.points import POINTS
from tests.crash.harness import BAD_UPLOAD, WITH_WEBHOOK, Case, CrashHarness

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

UNKNOWN = {"generate.intent", "generate.created"}
"""Here the outcome of the paid call is lost with the process: the run fails, and is refunded."""


@pytest.fixture(scope="module")
def crash_harness(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrashHarness]:
    base = tmp_path_factory.getbasetemp()
    # Under xdist every worker has a folder of its own below one that they share.
    shared = base.parent if hasattr(request.config, "workerinput") else base
    names = [
        item.callspec.params["name"]
        for item in request.session.items
        if "crash_harness" in getattr(item, "fixturenames", ())
    ]
    crash_harness = CrashHarness(shared / "crash", names)
    yield crash_harness
    crash_harness.close()


def judge(case: Case, *, success: bool, code: str = "") -> None:
    """One delivered verdict, the book balanced, output whole or absent, nothing left behind."""
    assert not case.trouble, case.trouble
    assert (case.verdict["status"], case.verdict["code"]) == ("success" if success else "failed", code), case.log
    assert "delivered" in case.records
    assert set(case.heard) == {case.state} == {"success" if success else "failed"}
    assert case.signed
    assert (case.charges, case.refunds) == (1, 0 if success else 1)
    assert case.outputs == {item["target"]: item["etag"] for item in case.verdict["manifest"]}
    assert len(case.outputs) == (12 if success else 0)
    assert success or case.staged == 0


@pytest.mark.parametrize("name", POINTS)
def test_crash_at(crash_harness: CrashHarness, name: str) -> None:
    case = crash_harness.case(name)
    if name in UNKNOWN:
        judge(case, success=False, code=Code.VENDOR_UNKNOWN)
    else:
        judge(case, success=True)
    assert (case.died, case.signal) == (name, signal.SIGKILL)
    assert case.jobs == (0 if name == "generate.intent" else 1)
    assert case.waiting == 0


@pytest.mark.parametrize(
    "name",
    [
        f"{point}{BAD_UPLOAD}"
        for point in ("clean.marked", "verdict.stored", "finish.called_back", "finish.delivered", "clean.acked")
    ],
)
def test_crash_of_a_run_that_fails_refunds_it_once(crash_harness: CrashHarness, name: str) -> None:
    case = crash_harness.case(name)
    judge(case, success=False, code=Code.BAD_PICTURE)
    assert (case.died, case.signal) == (name.removesuffix(BAD_UPLOAD), signal.SIGKILL)
    assert (case.jobs, case.waiting) == (0, 0)


@pytest.mark.parametrize("name", [WITH_WEBHOOK])
def test_crash_after_the_create_is_recovered_by_the_webhook(crash_harness: CrashHarness, name: str) -> None:
    case = crash_harness.case(name)
    judge(case, success=True)
    assert (case.died, case.signal) == ("generate.created", signal.SIGKILL)
    assert case.jobs == 1


@pytest.mark.parametrize("name", [""], ids=["undisturbed"])
def test_crash_points_are_exactly_those_that_a_run_reaches(crash_harness: CrashHarness, name: str) -> None:
    case = crash_harness.case(name)
    judge(case, success=True)
    # Once a message is published its own work may begin before the ack of the one that it follows; and a poll that
    # comes before the end of its job publishes the next poll.
    acks = [point for point in POINTS if point.endswith(".acked")]
    free = {*acks, "poll.published"}
    assert [point for point in case.points if point not in free] == [point for point in POINTS if point not in free]
    assert sorted(point for point in case.points if point in free) == sorted(free)
    for ack in acks:
        stage = ack.removesuffix(".acked")
        assert case.points.index(ack) > max(n for n, at in enumerate(case.points) if at.startswith(stage) and at != ack)
    assert case.heard == ("success",)
    assert case.waiting == 0
    assert case.jobs == 1
