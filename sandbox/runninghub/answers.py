"""Answers of both versions of the interface (docs/reference/vendors.md). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from sandbox.runninghub.core import ResultFile
from sandbox.runninghub.model import Failure, Job, Refusal, State
from sandbox.runninghub.webhooks import Record

__all__ = [
    "account",
    "envelope",
    "queue",
    "refused_v1",
    "refused_v2",
    "run_v1",
    "run_v2",
    "status_v2",
    "task_outputs",
    "webhook_detail",
]

_CLIENT_ID: Final = "e825290b08ca2015b8f62f0bbdb5f5f6"
_CANCELLED: Final = Failure("805", {"exception_type": "InterruptProcessingException", "exception_message": "cancelled"})


def envelope(data: object, *, word: str = "msg") -> dict[str, Any]:
    """Return a success in an envelope; uploads of v2 use the word `message`."""
    return {"code": 0, word: "success", "data": data}


def refused_v1(refusal: Refusal, *, word: str = "msg") -> dict[str, Any]:
    """Return a business error in an envelope: the code is a number."""
    return {"code": int(refusal.code), word: refusal.message, "data": None}


def refused_v2(refusal: Refusal) -> dict[str, Any]:
    """Return a business error of v2: no envelope, and the code is a string."""
    return {
        "taskId": "",
        "status": "",
        "errorCode": refusal.code,
        "errorMessage": refusal.message,
        "results": None,
        "clientId": "",
        "promptTips": "",
    }


def run_v1(job: Job, state: State, kind: str) -> dict[str, Any]:
    """Return the answer to an accepted create of v1; `kind` is the fault of its content, if any."""
    task: dict[str, Any] = {
        "netWssUrl": None,
        "taskId": _id(job, kind),
        "clientId": _CLIENT_ID,
        "taskStatus": state,
        "promptTips": _tips(job, kind),
    }
    return envelope(None if kind == "no_id" else task)


def run_v2(job: Job, state: State, kind: str) -> dict[str, Any]:
    """Return the answer to an accepted create of v2; `kind` is the fault of its content, if any."""
    return {
        "taskId": _id(job, kind),
        "status": state,
        "errorCode": "",
        "errorMessage": "",
        "results": None,
        "clientId": _CLIENT_ID,
        "promptTips": _tips(job, kind),
    }


def status_v2(job: Job, state: State, files: Sequence[ResultFile]) -> dict[str, Any]:
    """Return the answer to a query."""
    failure = _failure(job, state)
    return {
        "taskId": job.id,
        "status": state,
        "errorCode": failure.code if failure else "",
        "errorMessage": Refusal(failure.code).message if failure else "",
        "failedReason": failure.reason if failure else {},
        "usage": {
            "consumeMoney": None,
            "consumeCoins": _coins(job),
            "taskCostTime": _cost_time(job),
            "thirdPartyConsumeMoney": None,
        },
        "results": _results(job, files) if state == "SUCCESS" else None,
        "clientId": _CLIENT_ID,
        "promptTips": "",
    }


def task_outputs(job: Job, state: State, files: Sequence[ResultFile], *, numbers: bool = False) -> dict[str, Any]:
    """Return the answer to `outputs` of v1. It is also a webhook's `eventData`, in which the time is a number."""
    failure = _failure(job, state)
    if failure is not None:
        message = Refusal(failure.code).message
        return {"code": int(failure.code), "msg": message, "data": {"failedReason": failure.reason}}
    if state != "SUCCESS":
        refusal = Refusal("813" if state == "QUEUED" else "804")
        data = None if state == "QUEUED" else {"netWssUrl": "wss://stand-in.invalid/ws"}
        return {"code": int(refusal.code), "msg": refusal.message, "data": data}
    return envelope(
        [
            {
                "fileUrl": file.url,
                "fileType": file.type,
                "taskCostTime": int(job.duration) if numbers else _cost_time(job),
                "nodeId": file.node,
                "thirdPartyConsumeMoney": None,
                "consumeMoney": None,
                "consumeCoins": _coins(job),
            }
            for file in files
        ]
    )


def queue(kind: str, limit: int, running: int, queued: int) -> dict[str, Any]:
    """Return the answer to queue/status."""
    return envelope(
        {
            "apiKeyType": kind,
            "concurrentLimit": limit,
            "runningCount": running,
            "queuedCount": queued,
            "totalCurrentTasks": running + queued,
        }
    )


def account(kind: str, unfinished: int) -> dict[str, Any]:
    """Return the answer to accountStatus, whose numbers are strings."""
    return envelope(
        {
            "remainCoins": "99999",
            "currentTaskCounts": str(unfinished),
            "remainMoney": None,
            "currency": None,
            "apiType": kind,
        }
    )


def webhook_detail(record: Record | None, created: float) -> dict[str, Any]:
    """Return the answer to getWebhookDetail."""
    if record is None:
        return {"code": 1, "msg": "webhook event not exists", "data": None}
    return envelope(
        {
            "id": record.id,
            "webhookUrl": record.url,
            "eventData": record.event_data,
            "callbackStatus": record.status,
            "callbackResponse": record.response,
            "retryCount": record.retries,
            "createTime": int(created * 1000),
            "updateTime": int(record.updated * 1000),
        }
    )


def _id(job: Job, kind: str) -> str | int:
    if kind == "no_id":
        return ""
    return int(job.id) if kind == "number" else job.id


def _tips(job: Job, kind: str) -> str:
    errors: dict[str, Any] = {}
    if kind == "tips":
        errors = {job.shape.output: {"errors": [{"type": "value_not_in_list", "message": "Value not in list"}]}}
    tips = {
        "result": not errors,
        "error": None,
        "outputs_to_execute": [] if errors else [job.shape.output],
        "node_errors": errors,
    }
    return msgspec.json.encode(tips).decode()


def _results(job: Job, files: Sequence[ResultFile]) -> list[dict[str, Any]]:
    pictures: list[dict[str, Any]] = [
        {"url": file.url, "nodeId": file.node, "outputType": file.type, "text": None} for file in files
    ]
    caption = {"url": None, "nodeId": job.shape.caption, "outputType": "txt", "text": "a model in twelve poses"}
    return [*pictures, caption]


def _failure(job: Job, state: State) -> Failure | None:
    if state == "CANCEL":
        return _CANCELLED
    return job.failure if state == "FAILED" else None


def _coins(job: Job) -> str:
    return str(round(job.duration))


def _cost_time(job: Job) -> str:
    return str(round(job.duration))
