"""A night of tasks with faults; the answers to the operator's questions are compared with the quota account."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import httpx
import jwt

from tests.docs.test_operate import QUESTIONS
from tests.e2e.test_terminals import Terminals, book, until

__all__ = ["ask_everything", "cancel_some", "disturb", "run_json", "sell"]

USERS: Final = ("u-1024", "u-2048", "u-4096")
KINDS: Final[Mapping[str, dict[str, Any]]] = {
    "basic_clean": {"params": {}, "photo": True},
    "ai_image_generate": {"params": {"prompt": "一位模特身穿米色风衣", "options": {"n": 1}}, "photo": False},
    "model_pose12": {"params": {"prompt": "a smiling model"}, "photo": True},
}
SHARES: Final = ("model_pose12", *("ai_image_generate", "basic_clean", "basic_clean") * 6, "basic_clean")
"""Kinds of twenty tasks."""
FAULTS: Final = {
    "RUNNINGHUB_URL": {"on": "job", "kind": "fail"},
    "ARK_URL": {"on": "create", "kind": "answer", "code": "InputTextSensitiveContentDetected", "times": 2},
    "COS_ENDPOINT": {"kind": "unavailable", "method": "GET", "key": "^ledger/", "times": 2},
    "BACKEND_URL": {"on": "callback", "status": 503, "times": 3},
}


def disturb(environ: Mapping[str, str]) -> None:
    """Arm a fault of each stand-in."""
    for name, fault in FAULTS.items():
        httpx.post(f"{environ[name]}/_sandbox/faults", json=fault, trust_env=False).raise_for_status()


def sell(environ: Mapping[str, str], tasks: int) -> list[str]:
    """Sell tasks through the API; their ids."""

    def one(number: int) -> str:
        user, kind = USERS[number % len(USERS)], SHARES[number % len(SHARES)]
        token = jwt.encode({"sub": user, "exp": int(time.time()) + 600}, environ["JWT_SECRET"], algorithm="HS256")
        inputs = [f"{environ['PHOTOS_URL']}/portrait.jpg"] if KINDS[kind]["photo"] else []
        answer = httpx.post(
            f"{environ['API_URL']}/api/v1/ai-generation/create",
            json={"kind": kind, "params": KINDS[kind]["params"], "inputs": inputs},
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
            timeout=60,
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["taskId"])

    with ThreadPoolExecutor(4) as threads:
        return list(threads.map(one, range(tasks)))


def cancel_some(terminals: Terminals, environ: Mapping[str, str]) -> None:
    """Cancel two tasks before any worker has begun."""
    for row in book(dict(environ))["tasks"][-2:]:
        done = terminals.run("cancel", row["task_id"], "--user", row["user_id"])
        assert done.returncode == 0, done.stderr


def ask_everything(terminals: Terminals, environ: Mapping[str, str]) -> None:
    """Wait until every task is over, then ask each question of the page, and check its answer."""
    for half in (0.5, 1.0):
        until(lambda: ended(environ) >= half, f"a verdict for {half:.0%} of the tasks")  # noqa: B023 - called at once
    account = {**book(dict(environ)), "coins": coins_of(environ)}
    # An entry of the statistics is written just before the callback, a status every 15 s.
    until(lambda: is_counted(terminals, len(account["tasks"])), "the worker's report")
    with ThreadPoolExecutor(2) as threads:
        answers = dict(
            zip(QUESTIONS, threads.map(lambda question: ask(terminals, question, account), QUESTIONS), strict=True)
        )
    assert {words(question) for question in QUESTIONS} == set(CHECKS), "a question without a check"
    for question, answer in answers.items():
        CHECKS[words(question)](answer, account)


def coins_of(environ: Mapping[str, str]) -> int:
    """Charge of RunningHub's stand-in for jobs that ran to their end, good or bad: one coin per second."""
    jobs = httpx.get(f"{environ['RUNNINGHUB_URL']}/_sandbox/stats", trust_env=False).json()["jobs"]
    return sum(round(job["ends"] - job["created"]) for job in jobs if job["state"] in {"SUCCESS", "FAILED"})


def ended(environ: Mapping[str, str]) -> float:
    """The share of the tasks that have ended."""
    rows = book(dict(environ))["tasks"]
    return sum(row["status"] != "pending" for row in rows) / len(rows)


def is_counted(terminals: Terminals, tasks: int) -> bool:
    workers = [one for one in run_json(terminals, "workers")["processes"] if one["groups"]]
    return any(one["ended"].get("done", 0) >= tasks for one in workers)


def run_json(terminals: Terminals, *arguments: str) -> dict[str, Any]:
    done = terminals.run(*arguments, "--json")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def ask(terminals: Terminals, question: str, account: Mapping[str, Any]) -> dict[str, Any]:
    """Ask a question of the page; its words in capitals are the first task that failed, and its user."""
    row = next(row for row in account["tasks"] if row["status"] == "failed")
    named = {"TASK_ID": row["task_id"], "USER_ID": row["user_id"]}
    return run_json(terminals, *(named.get(word, word) for word in question.split()[1:]))


def words(question: str) -> str:
    """The command and its options, without their values."""
    _, name, *rest = question.split()
    return " ".join([name, *(word for word in rest if word.startswith("--") or name == "dead")])


def ids(answer: Mapping[str, Any]) -> set[str]:
    return {row["task"] for row in answer["tasks"]}


def with_refund(account: Mapping[str, Any]) -> set[str]:
    return {row["task_id"] for row in account["tasks"] if row["refunds"]}


def nothing_is_stuck(answer: dict[str, Any], _: dict[str, Any]) -> None:
    assert answer["tasks"] == []


def the_refunds_are_listed(answer: dict[str, Any], account: dict[str, Any]) -> None:
    assert ids(answer) == with_refund(account)
    assert len(ids(answer)) == account["refunded"] > 0


def the_tasks_of_the_user_are_listed(answer: dict[str, Any], account: dict[str, Any]) -> None:
    (user,) = {row["user"] for row in answer["tasks"]}
    assert ids(answer) == {row["task_id"] for row in account["tasks"] if row["user_id"] == user}


def the_task_is_shown(answer: dict[str, Any], account: dict[str, Any]) -> None:
    assert (answer["state"] in {"failed", "cancelled"}, answer["refunded"]) == (True, True)
    assert answer["task"] in with_refund(account)
    assert answer["callback"]["http_status"] == 200


def the_figures_add_up(answer: dict[str, Any], account: dict[str, Any]) -> None:
    counts: Counter[str] = Counter()
    for one in answer["counts"]:
        counts[one["state"]] += one["tasks"]
    assert answer["total"] == account["charged"] == len(account["tasks"])
    assert counts["failed"] + counts["cancelled"] == account["refunded"]
    assert counts["success"] == sum(row["status"] == "success" for row in account["tasks"])
    assert float(answer["cost"].get("coins", 0)) == account["coins"]


def nothing_is_due(answer: dict[str, Any], _: dict[str, Any]) -> None:
    assert [one["topic"] for one in answer["topics"] if one["ready"]] == []


def a_worker_runs(answer: dict[str, Any], _: dict[str, Any]) -> None:
    assert [one["silent"] for one in answer["processes"] if one["groups"]] == [False]


def nothing_is_paused(answer: dict[str, Any], _: dict[str, Any]) -> None:
    assert answer == {"paused": [], "changes": []}


def each_failure_has_a_letter(answer: dict[str, Any], account: dict[str, Any]) -> None:
    failed = [row for row in account["tasks"] if row["status"] == "failed" and row["error_code"] != "cancelled"]
    assert sum(group["count"] for group in answer["groups"]) >= len(failed) > 0
    assert all(group["refunded"] <= group["count"] for group in answer["groups"])


def all_is_well(answer: dict[str, Any], _: dict[str, Any]) -> None:
    assert [one["name"] for one in answer["findings"] if one["ok"] is not True] == []


CHECKS: Final[Mapping[str, Callable[[dict[str, Any], dict[str, Any]], None]]] = {
    "list --still": nothing_is_stuck,
    "show": the_task_is_shown,
    "list --state --state": nothing_is_stuck,
    "list --refunded": the_refunds_are_listed,
    "list --user --since": the_tasks_of_the_user_are_listed,
    "stats --since": the_figures_add_up,
    "topics": nothing_is_due,
    "workers": a_worker_runs,
    "pauses": nothing_is_paused,
    "dead list --group": each_failure_has_a_letter,
    "doctor": all_is_well,
}
"""Question of the page -> the check of its answer."""
