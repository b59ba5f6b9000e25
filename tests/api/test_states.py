"""The state of a task as its user sees it: what it does, why it waits, how it ended; lists and statistics."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from messages.bodies import Stage
from messages.codes import Code, text_of
from messages.keys import Facts, RunId
from producer.api.stats import statistics_of
from tasks.ledger.records import Verdict
from tests.api.conftest import TASKS, Open, token
from tests.api.histories import CANCELLED, FAILED, accept, begin, deliver, end, succeed, wait

if TYPE_CHECKING:
    from tests.api.conftest import Door

RUN = RunId("u1", "t1")


async def _state(here: Door, run: RunId = RUN, query: str = "") -> dict[str, object]:
    answer = await here.ask("GET", f"{TASKS}/{run.task}{query}", user=run.user)
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


async def test_a_sold_task_is_queued_and_then_at_work(door: Open) -> None:
    async with door() as here:
        run = await here.created()
        queued = await _state(here, run)
        assert (queued["state"], queued["stage"], queued["kind"]) == ("queued", "clean", "basic_clean")
        assert queued["waiting"] == {"why": "queued", "until": None}
        assert isinstance(queued["expectedSeconds"], int)
        await begin(here.ledger, run)
        working = await _state(here, run)
        assert (working["state"], working["waiting"]) == ("working", None)


@pytest.mark.parametrize(
    ("why", "shown"),
    [
        ("vendor_full", "vendor_full"),
        ("spend_cap", "vendor_full"),
        ("results_late", "vendor_working"),
        ("call_open", "vendor_working"),
        ("user_cap", "user_cap"),
        ("BackendDown", "backend_away"),
        ("VendorDown", "vendor_away"),
        ("paused", "paused"),
        ("AuditDown", "retry"),
    ],
)
async def test_it_says_why_a_task_waits(door: Open, why: str, shown: str) -> None:
    async with door() as here:
        await accept(here.ledger, RUN)
        await wait(here.ledger, RUN, why)
        waiting = (await _state(here))["waiting"]
        assert isinstance(waiting, dict)
        assert waiting["why"] == shown
        assert waiting["until"]


async def test_a_success_has_results_once_the_backend_has_it(door: Open) -> None:
    async with door() as here:
        await accept(here.ledger, RUN)
        await begin(here.ledger, RUN)
        await succeed(here.ledger, RUN, "frame_01.jpg", "frame_02.jpg")
        ending = await _state(here)
        assert (ending["state"], ending["stage"], ending["results"]) == ("working", Stage.NOTIFY.value, [])
        await deliver(here.ledger, RUN)
        done = await _state(here)
        assert (done["state"], done["stage"], done["delivered"], done["error"]) == ("success", None, True, None)
        results = done["results"]
        assert isinstance(results, list)
        assert [one["name"] for one in results] == ["frame_01.jpg", "frame_02.jpg"]
        assert all("output/u1/t1/frame_0" in one["url"] and one["expiresAt"] for one in results)


async def test_results_that_the_backend_holds_back_are_not_shown(door: Open) -> None:
    async with door() as here:
        await accept(here.ledger, RUN)
        await succeed(here.ledger, RUN, "frame_01.jpg")
        await deliver(here.ledger, RUN, contrary=True)
        done = await _state(here)
        assert (done["state"], done["results"]) == ("failed", [])


async def test_a_failure_has_a_code_and_a_text(door: Open) -> None:
    async with door() as here:
        await accept(here.ledger, RUN)
        await end(here.ledger, RUN, FAILED)
        failed = await _state(here)
        assert failed["state"] == "failed"
        assert failed["error"] == {"code": "vendor_failed", "message": text_of(Code.VENDOR_FAILED)}


async def test_a_text_and_what_was_replaced(door: Open) -> None:
    async with door() as here:
        await accept(here.ledger, RUN)
        await end(here.ledger, RUN, Verdict("success", text="一段提示词", degraded=("prompt_template",)))
        await deliver(here.ledger, RUN)
        done = await _state(here)
        assert (done["state"], done["text"], done["degraded"]) == ("success", "一段提示词", ["prompt_template"])


async def test_the_newest_run_counts(door: Open) -> None:
    async with door() as here:
        await accept(here.ledger, RUN)
        await end(here.ledger, RUN, FAILED)
        await accept(here.ledger, RunId("u1", "t1", 0, 1))
        assert (await _state(here))["state"] == "queued"


async def test_a_task_that_waits_for_its_upload(door: Open) -> None:
    async with door() as here:
        answer = await here.ask(
            "POST", "/api/v1/ai-generation/uploads", json={"kind": "basic_clean", "extensions": ["jpg"]}
        )
        assert answer.status_code == 201, answer.text
        state = await _state(here, RunId("u1", answer.json()["taskId"]))
        assert (state["state"], state["waiting"]) == ("queued", {"why": "upload", "until": None})


@pytest.mark.parametrize(("fault", "status"), [(500, 503), (401, 503), (404, 404)])
async def test_without_the_backend_an_unknown_task_is_not_denied(door: Open, fault: int, status: int) -> None:
    async with door() as here:
        asked = {"kind": "basic_clean", "extensions": ["jpg"]}
        task = (await here.ask("POST", "/api/v1/ai-generation/uploads", json=asked)).json()["taskId"]
        for method, path in (("GET", ""), ("GET", "/events"), ("DELETE", "")):
            await here.arm(on="state", kind="answer", status=fault, times=3 if fault == 500 else 1)
            assert (await here.ask(method, f"{TASKS}/{task}{path}")).status_code == status


async def test_cancelling(door: Open) -> None:
    async with door() as here:
        run = await here.created()
        await here.sent()
        for _ in range(2):
            answer = await here.ask("DELETE", f"{TASKS}/{run.task}")
            assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
        assert await here.ledger.verdict(run) == CANCELLED
        assert {message.header.stage for message in await here.sent()} == {Stage.WAKE}


async def test_a_task_that_has_ended_cannot_be_cancelled(door: Open) -> None:
    async with door() as here:
        await accept(here.ledger, RUN)
        await end(here.ledger, RUN, FAILED)
        answer = await here.ask("DELETE", f"{TASKS}/t1")
        assert (answer.status_code, answer.json()["code"]) == (409, "finished")


async def test_the_tag_changes_with_every_record(door: Open) -> None:
    async with door() as here:
        await accept(here.ledger, RUN)
        first = await here.ask("GET", f"{TASKS}/t1")
        tag = first.headers["ETag"]
        assert int(first.headers["Retry-After"]) >= 1
        same = await here.ask("GET", f"{TASKS}/t1", headers={"If-None-Match": tag})
        assert (same.status_code, same.content) == (304, b"")
        await begin(here.ledger, RUN)
        other = await here.ask("GET", f"{TASKS}/t1", headers={"If-None-Match": tag})
        assert (other.status_code, other.headers["ETag"] != tag) == (200, True)


async def test_waiting_for_a_change(door: Open) -> None:
    async with door() as here:
        await accept(here.ledger, RUN)
        tag = (await here.ask("GET", f"{TASKS}/t1")).headers["ETag"]
        asking = asyncio.create_task(here.ask("GET", f"{TASKS}/t1?wait=20", headers={"If-None-Match": tag}))
        await asyncio.sleep(0)
        await begin(here.ledger, RUN)
        answer = await asking
        assert (answer.status_code, answer.json()["state"]) == (200, "working")


async def test_waiting_for_the_end(door: Open) -> None:
    async with door() as here:
        await accept(here.ledger, RUN)
        asking = asyncio.create_task(here.ask("GET", f"{TASKS}/t1?wait=20"))
        await asyncio.sleep(0)
        await begin(here.ledger, RUN)
        await end(here.ledger, RUN, FAILED)
        assert (await asking).json()["state"] == "failed"
        assert here.api.watch.polls == 0


async def test_the_last_step_that_there_may_be_is_watched_too(door: Open) -> None:
    async with door() as here:
        await accept(here.ledger, RunId("u1", "t1", 1_000_000))
        assert (await _state(here, query="?step=1000000"))["step"] == 1_000_000


@pytest.mark.parametrize("query", ["?step=1000001", "?wait=26", "?wait=-1", "?wait=x", "?step=x", "?step=-1"])
async def test_a_parameter_that_cannot_be_used(door: Open, query: str) -> None:
    async with door() as here:
        await accept(here.ledger, RUN)
        answer = await here.ask("GET", f"{TASKS}/t1{query}")
        assert (answer.status_code, answer.json()["field"]) == (422, query[1:5])


# ---- lists -----------------------------------------------------------------------------------------------------------


async def test_a_list_has_the_newest_first_and_goes_on_at_its_cursor(door: Open) -> None:
    async with door() as here:
        now = here.ledger.now()
        for n in range(5):
            await accept(here.ledger, RunId("u1", f"t{n}"), created=now - n)
        await accept(here.ledger, RunId("u2", "theirs"))
        found: list[str] = []
        cursor = ""
        for _ in range(9):
            page = (await here.ask("GET", f"{TASKS}?limit=2&cursor={cursor}")).json()
            assert len(page["tasks"]) <= 2
            found += [task["taskId"] for task in page["tasks"]]
            cursor = page["cursor"]
            if cursor is None:
                break
        assert found == ["t0", "t1", "t2", "t3", "t4"]


async def test_a_list_by_state_and_kind(door: Open) -> None:
    async with door() as here:
        for n, kind in enumerate(("basic_clean", "model_pose12", "model_pose12")):
            await accept(here.ledger, RunId("u1", f"t{n}"), kind=kind)
        await end(here.ledger, RunId("u1", "t2"), FAILED)
        for query, expected in (
            ("kind=model_pose12", {"t1", "t2"}),
            ("state=failed", {"t2"}),
            ("state=queued&kind=model_pose12", {"t1"}),
            ("state=success", set()),
        ):
            page = (await here.ask("GET", f"{TASKS}?{query}")).json()
            assert {task["taskId"] for task in page["tasks"]} == expected, query


@pytest.mark.parametrize(
    ("query", "field"),
    [("limit=0", "limit"), ("limit=101", "limit"), ("state=gone", "state"), ("cursor=../x", "cursor")],
)
async def test_a_list_that_cannot_be_made(door: Open, query: str, field: str) -> None:
    async with door() as here:
        answer = await here.ask("GET", f"{TASKS}?{query}")
        assert (answer.status_code, answer.json()["field"]) == (422, field)
        assert answer.json()["message"]


# ---- statistics ------------------------------------------------------------------------------------------------------


async def test_statistics_of_ones_own_and_of_all(door: Open) -> None:
    async with door() as here:
        now = here.ledger.now()
        for user, task, verdict, wait_s, run_s in (
            ("u1", "t1", FAILED, 1, 10),
            ("u1", "t2", CANCELLED, 3, 30),
            ("u2", "t3", FAILED, 5, 50),
        ):
            run = RunId(user, task)
            await accept(here.ledger, run)
            await end(here.ledger, run, verdict)
            facts = Facts(now, "model_pose12", "", "", wait_s, run_s, "0.5_CNY")
            await deliver(here.ledger, run, facts=facts)
        mine = (await here.ask("GET", "/api/v1/ai-generation/stats")).json()
        assert (mine["total"], mine["complete"], mine["cost"]) == ("2", True, {"CNY": "1"})
        assert [(one["state"], one["code"], one["tasks"]) for one in mine["counts"]] == [
            ("cancelled", "cancelled", 1),
            ("failed", "vendor_failed", 1),
        ]
        assert (mine["wait"], mine["run"]) == ({"p50": 1, "p95": 3, "p99": 3}, {"p50": 10, "p95": 30, "p99": 30})
        headers = {"Authorization": f"Bearer {token('op', role='operator')}"}
        everyone = (await here.http.get("/api/v1/ai-generation/stats?all=true&hours=1", headers=headers)).json()
        assert everyone["total"] == "3"


async def test_counting_stops_and_says_so(door: Open) -> None:
    async with door() as here:
        now = time.time()
        for n in range(5):
            await here.ledger.enter_done(RunId("u1", f"t{n}"), Facts(now - n, "k", "success", "", 1, 1, ""))
        capped = await statistics_of("u1", now - 60, now + 1, here.records, most=3)
        assert (capped.total, capped.complete) == ("3+", False)
        whole = await statistics_of("u1", now - 2.5, now + 1, here.records)
        assert (whole.total, whole.complete) == ("3", True)
        empty = await statistics_of("u9", now - 60, now, here.records)
        assert (empty.total, empty.wait, empty.counts) == ("0", None, ())
