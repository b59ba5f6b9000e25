"""Interpretation of RunningHub's answers. Pure: bytes in, a value or an error of the tree out.

Answers are read leniently, field by field: numbers come as strings and strings as numbers, fields go missing, and an id
lost to a strict decoder is a job that is paid for and thrown away (docs/reference/vendors.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, cast
from urllib.parse import urlsplit

from messages.codes import Code
from services.errors import CreateUnknown, UploadFailed, VendorDown, VendorFull, VendorRefused
from services.vendors.http import ApiResponse
from services.vendors.on_create import HTTP_ON_CREATE, OnCreate
from services.vendors.port import JobFile, JobState, JobStatus
from services.vendors.reading import as_list, as_map, as_number, as_text, decode_object, redacted
from services.vendors.runninghub.codes import CODES, UNLISTED, Meaning, OnQuery, OnUpload
from services.vendors.usage import Usage

__all__ = [
    "accepted_id",
    "check_room",
    "check_stopped",
    "job_outputs",
    "job_state",
    "job_status",
    "uploaded_name",
    "webhook_url",
]

_OK: Final = 200
_NO_ERROR: Final = frozenset({"", "0", "200"})
"""`200` as success was seen on uploads (docs/reference/vendors.md)."""

_WORKING: Final = frozenset({"QUEUED", "RUNNING", "CREATE"})
_ENDED: Final = frozenset({"FAILED", "CANCEL", "CANCELED", "CANCELLED"})

_ID: Final = re.compile(r"[!-~]{1,128}")
_BARE_ID: Final = re.compile(r"[0-9]{12,32}")
_TYPE: Final = re.compile(r"[a-z0-9]{1,8}")


def accepted_id(reply: ApiResponse) -> str:
    """Return the id in the answer to a create.

    An id counts, whatever code, status or node errors come with it: the job exists.

    Raises:
        services.errors.VendorFull: not accepted, come again later.
        services.errors.VendorRefused: not accepted, and never will be.
        services.errors.CreateUnknown: the answer proves neither.
    """
    answer = decode_object(reply.body)
    job_id = _job_id(answer)
    if job_id:
        return job_id
    meaning = CODES.get(_code(answer), UNLISTED)
    outcome = HTTP_ON_CREATE.get(reply.status, OnCreate.UNKNOWN) if meaning is UNLISTED else meaning.create
    text = _say("create", reply, answer)
    if outcome is OnCreate.FULL:
        raise VendorFull(text, retry_after=_wait(reply, meaning))
    if outcome is OnCreate.REFUSED:
        raise VendorRefused(text, code=meaning.code)
    raise CreateUnknown(text)


def job_status(reply: ApiResponse, outputs: AbstractSet[str]) -> JobStatus:
    """Return the job's state in v2's answer to `query`.

    Args:
        reply: the answer.
        outputs: ids of the nodes whose files are results; empty for all.

    Raises:
        services.errors.VendorDown: it says nothing about the job.
    """
    answer = _about_job(reply)
    status = _judge(answer, outputs)
    if status is None:
        raise VendorDown(_say("query", reply, answer), retry_after=reply.retry_after)
    return status


def job_outputs(reply: ApiResponse, outputs: AbstractSet[str]) -> JobStatus | None:
    """Return the job's state in v1's answer to `outputs`; None if the call `status` is needed too.

    Args:
        reply: the answer.
        outputs: ids of the nodes whose files are results; empty for all.

    Raises:
        services.errors.VendorDown: it says nothing about the job.
    """
    return _judge(_flat(_about_job(reply)), outputs)


def job_state(outputs: ApiResponse, reply: ApiResponse) -> JobStatus:
    """Return the job's state in v1's answer to `status`.

    Args:
        outputs: the answer to `outputs`, which did not decide: an error, or (in older answers) success
            without files.
        reply: the answer to `status`.

    Raises:
        services.errors.VendorDown: they say nothing about the job.
    """
    answer = _about_job(reply)
    word = as_text(answer.get("data")).upper()
    before = _flat(decode_object(outputs.body))
    if word == "SUCCESS" and not _code(answer) and not _code(before):
        # Its files are not shown yet: the collect stage looks again for a while.
        return JobStatus(JobState.SUCCESS)
    if word != "SUCCESS":
        beside = before if word in _ENDED and not _code(answer) else answer
        status = _judge({**beside, "status": word}, frozenset())
        if status is not None:
            return status
    raise VendorDown(_say("query", reply, answer), retry_after=reply.retry_after)


def uploaded_name(reply: ApiResponse) -> str:
    """Return the file's name in the answer to an upload.

    Raises:
        services.errors.UploadFailed: may work again.
        services.errors.VendorDown: the vendor or our key as such fails.
        services.errors.VendorRefused: never will.
    """
    answer = decode_object(reply.body)
    code = _code(answer)
    name = as_text(as_map(answer.get("data")).get("fileName"))
    if reply.status == _OK and not code and name:
        return name
    text = _say("upload", reply, answer)
    if code in CODES:
        meaning = CODES[code]
    elif reply.status in {401, 403, 408, 425, 429} or reply.status >= 500:  # noqa: PLR2004 - the server's errors
        raise VendorDown(text, retry_after=reply.retry_after)
    elif reply.status == 413:  # noqa: PLR2004 - Content Too Large
        raise VendorRefused(text, code=Code.PICTURE_TOO_LARGE)
    else:
        raise UploadFailed(text, retry_after=reply.retry_after)
    if meaning.upload is OnUpload.DOWN:
        raise VendorDown(text, retry_after=_wait(reply, meaning))
    if meaning.upload is OnUpload.REFUSED:
        raise VendorRefused(text, code=meaning.code)
    raise UploadFailed(text)


def check_room(reply: ApiResponse) -> None:
    """Return without an error if the state of the queue leaves room, or if the vendor has no such call.

    An answer without figures (or 404 and 405) lets the create find out: its 421 is proof that nothing was accepted.

    Raises:
        services.errors.VendorFull: as many jobs as the key may have.
        services.errors.VendorDown: the vendor or our key as such fails.
    """
    if reply.status in {404, 405}:
        return
    answer = decode_object(reply.body)
    if reply.status != _OK or not answer or _code(answer):
        raise VendorDown(_say("queue", reply, answer), retry_after=reply.retry_after)
    data = as_map(answer.get("data"))
    limit, running, queued = (_number(data.get(name)) for name in ("concurrentLimit", "runningCount", "queuedCount"))
    if limit is not None and (running or 0) + (queued or 0) >= limit:
        raise VendorFull(f"queue: {running or 0} running and {queued or 0} queued of {limit}")


def check_stopped(reply: ApiResponse) -> None:
    """Return if a cancel was answered: done, ended already, or job unknown.

    Raises:
        services.errors.VendorDown: no answer about the job.
    """
    answer = decode_object(reply.body)
    meaning = CODES.get(_code(answer))
    server = meaning is not None and meaning.query is OnQuery.STATUS and meaning.create is OnCreate.UNKNOWN
    ours = meaning is not None and meaning.query is OnQuery.DOWN
    if reply.status != _OK or not answer or server or ours:
        raise VendorDown(_say("cancel", reply, answer), retry_after=reply.retry_after)


def webhook_url(reply: ApiResponse) -> str:
    """Return the webhook URL in the answer to getWebhookDetail: a secret.

    Raises:
        services.errors.VendorDown: there is none, or none yet: "webhook event not exists" says no more.
    """
    answer = decode_object(reply.body)
    url = "" if _code(answer) else as_text(as_map(answer.get("data")).get("webhookUrl"))
    if reply.status != _OK or not url:
        raise VendorDown(_say("getWebhookDetail", reply, answer), retry_after=reply.retry_after)
    return url


def _about_job(reply: ApiResponse) -> Mapping[str, object]:
    """Return the decoded answer to a look at a job.

    Raises:
        services.errors.VendorDown: it cannot be read, or it is about our key or our rate.
    """
    answer = decode_object(reply.body)
    if reply.status != _OK or not answer:
        raise VendorDown(_say("query", reply, answer), retry_after=reply.retry_after)
    meaning = CODES.get(_code(answer), UNLISTED)
    if meaning.query is OnQuery.DOWN:
        raise VendorDown(_say("query", reply, answer), retry_after=_wait(reply, meaning))
    return answer


def _judge(answer: Mapping[str, object], outputs: AbstractSet[str]) -> JobStatus | None:
    """Return the state of a job in an answer; None without one."""
    meaning = CODES.get(_code(answer), UNLISTED)
    status = as_text(answer.get("status")).upper()
    if meaning.query is OnQuery.WORKING or (status in _WORKING and meaning.query is not OnQuery.ENDED):
        return JobStatus(JobState.WORKING)
    if meaning.query is OnQuery.ENDED or status in _ENDED:
        return _failed(answer, meaning)
    if status == "SUCCESS":
        return JobStatus(JobState.SUCCESS, files=tuple(_files(answer, outputs)), usage=_usage(answer))
    return None


def _flat(answer: Mapping[str, object]) -> Mapping[str, object]:
    """Return v1's answer to `outputs` in v2's form: files mean success, and each has the cost of the job."""
    data = answer.get("data")
    if isinstance(data, list) and not _code(answer):
        files = cast("list[object]", data)
        return {"status": "SUCCESS", "results": files, "usage": files[0] if files else None}
    return {**answer, "status": "", "failedReason": as_map(data).get("failedReason")}


def _number(value: object) -> int | None:
    text = as_text(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None  # noqa: PLR2004 - no true figure is longer


def _code(answer: Mapping[str, object]) -> str:
    """Return the error code, empty for none: v2 writes it in `errorCode`, envelopes write it in `code`."""
    for name in ("errorCode", "code"):
        code = as_text(answer.get(name))
        if code not in _NO_ERROR:
            return code
    return ""


def _job_id(answer: Mapping[str, object]) -> str:
    """Return the id at the top (v2), in `data` (v1), or as a bare `data` (docs/reference/vendors.md, oddities)."""
    data = answer.get("data")
    for found in (answer.get("taskId"), as_map(data).get("taskId")):
        text = as_text(found)
        if _ID.fullmatch(text) and text != "0":
            return text
    bare = as_text(data)
    return bare if _BARE_ID.fullmatch(bare) else ""


def _failed(answer: Mapping[str, object], meaning: Meaning) -> JobStatus:
    failed = as_map(answer.get("failedReason"))
    parts = [
        _code(answer),
        as_text(answer.get("errorMessage")) or as_text(answer.get("msg")) or as_text(answer.get("status")),
    ]
    parts += [as_text(failed.get(name)) for name in ("node_name", "node_id", "exception_type", "exception_message")]
    return JobStatus(
        JobState.FAILED,
        code=meaning.code or Code.VENDOR_FAILED,
        reason=redacted(" ".join(part for part in parts if part)),
        usage=_usage(answer),
        known=meaning.known,
    )


def _files(answer: Mapping[str, object], outputs: AbstractSet[str]) -> Iterator[JobFile]:
    for item in as_list(answer.get("results")):
        entry = as_map(item)
        url = as_text(entry.get("url")) or as_text(entry.get("fileUrl"))
        if url and (not outputs or as_text(entry.get("nodeId")) in outputs):
            yield JobFile(url, _type(as_text(entry.get("outputType")) or as_text(entry.get("fileType")), url))


def _type(given: str, url: str) -> str:
    """Return the file type: as given, else the suffix of the URL's path, else empty."""
    given = given.lower().lstrip(".")
    if _TYPE.fullmatch(given):
        return given
    try:
        path = urlsplit(url).path
    except ValueError:
        return ""
    suffix = path.rpartition(".")[2].lower()
    return suffix if "." in path and _TYPE.fullmatch(suffix) else ""


def _usage(answer: Mapping[str, object]) -> Usage:
    usage = as_map(answer.get("usage"))
    names = ("consumeCoins", "taskCostTime", "consumeMoney", "thirdPartyConsumeMoney")
    coins, seconds, money, third = (as_number(usage.get(name)) for name in names)
    return Usage(coins=coins, seconds=seconds, money=money + third)


def _wait(reply: ApiResponse, meaning: Meaning) -> float | None:
    return meaning.wait if reply.retry_after is None else reply.retry_after


def _say(call: str, reply: ApiResponse, answer: Mapping[str, object]) -> str:
    """Return a text for operators: call, status, code with its name, and the vendor's words without URLs and keys."""
    if not answer:
        return f"{call}: HTTP {reply.status}, no JSON object"
    code = _code(answer)
    words = next((text for name in ("errorMessage", "message", "msg") if (text := as_text(answer.get(name)))), "")
    name = CODES[code].name if code in CODES else "unlisted"
    suffix = f", code {redacted(code)} ({name})" if code else ""
    return f"{call}: HTTP {reply.status}{suffix}: {redacted(words)}"
