"""Interpretation of VOD's answers. Pure: bytes in, facts or an error of the tree out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from messages.codes import Code
from services.errors import CreateUnknown, VendorDown, VendorFull
from services.vendors.coded import CodedAnswer
from services.vendors.http import ApiResponse
from services.vendors.on_create import OnCreate
from services.vendors.port import JobFile, JobState, JobStatus
from services.vendors.reading import as_list, as_map, as_text, decode_object, redacted
from services.vendors.usage import Usage
from services.vendors.vod.codes import JobMeaning, meaning_of

__all__ = ["AlreadyAccepted", "Page", "account_fault", "check_answered", "check_key", "job_of", "page_of", "status_of"]

_ENDED: Final = frozenset({"FINISH", "ABORTED"})
_BLOCKS: Final = ("AigcImageTask", "SceneAigcImageTask")
_ENCRYPTED: Final = (".myqcloud.com", ".vod-qcloud.com")
"""Domains whose links come with `http:` and answer with `https:` too."""
_TYPES: Final = {"jpeg": "jpg"}


class AlreadyAccepted(CreateUnknown):
    """A create was refused because its SessionId was used before: a job exists, and its id is not in the answer."""


class Page(msgspec.Struct, frozen=True):
    """A page of the list of jobs."""

    jobs: Mapping[str, str]
    """SessionId -> id."""
    next: str
    """Token of the next page; empty after the last one."""


def job_of(reply: ApiResponse) -> str:
    """Return the id in the answer to a create.

    Raises:
        services.errors.VendorFull: not accepted, come again later.
        services.errors.VendorRefused: not accepted, and never will be.
        AlreadyAccepted: its SessionId was used before.
        services.errors.CreateUnknown: the answer proves nothing.
    """
    answer = _read(reply)
    if job := as_text(answer.body.get("TaskId")):
        return job
    if answer.meaning is not None and answer.meaning.duplicate:
        raise AlreadyAccepted(answer.say("create"))
    raise answer.create_error()


def status_of(reply: ApiResponse) -> JobStatus:
    """Return the state in the answer to a look.

    Raises:
        services.errors.VendorDown: the answer says nothing about the job.
    """
    answer = _read(reply)
    if answer.meaning is not None and answer.meaning.unknown_job:
        return JobStatus(JobState.FAILED, reason=answer.say("query"), known=False)
    block = next((found for name in _BLOCKS if (found := as_map(answer.body.get(name)))), {})
    states = {as_text(answer.body.get("Status")), as_text(block.get("Status"))} - {""}
    if answer.code or not states:
        raise VendorDown(answer.say("query"), retry_after=answer.wait)
    if not states & _ENDED:
        return JobStatus(JobState.WORKING)
    code = as_text(block.get("ErrCodeExt"))
    failed = "ABORTED" in states or code or as_text(block.get("ErrCode")) not in {"", "0"}
    if failed:
        meaning = meaning_of(code)
        reason = f"{redacted(code)} {redacted(as_text(block.get('Message')))}".strip() or "stopped"
        return JobStatus(JobState.FAILED, code=(meaning and meaning.code) or Code.VENDOR_FAILED, reason=reason)
    files = tuple(_files(block))
    return JobStatus(JobState.SUCCESS, files, usage=Usage(pictures=len(files)))


def page_of(reply: ApiResponse) -> Page:
    """Return a page of the list of jobs.

    Raises:
        services.errors.VendorDown: the answer is no list.
    """
    answer = _read(reply)
    if answer.code or not isinstance(answer.body.get("TaskSet"), list):
        raise VendorDown(answer.say("list"), retry_after=answer.wait)
    rows = [as_map(row) for row in as_list(answer.body.get("TaskSet"))]
    jobs = {as_text(row.get("SessionId")): as_text(row.get("TaskId")) for row in rows}
    token = as_text(answer.body.get("ScrollToken"))
    return Page({session: job for session, job in jobs.items() if session and job}, token)


def check_answered(reply: ApiResponse) -> None:
    """Return if the vendor answered a call, with any result.

    Raises:
        services.errors.VendorDown: it did not.
    """
    answer = _read(reply)
    if not answer.body:
        raise VendorDown(answer.say("cancel"), retry_after=answer.wait)


def check_key(reply: ApiResponse) -> None:
    """Return if the answer to a list shows that credentials and application are taken.

    Raises:
        services.errors.VendorFull: too many calls just now.
        services.errors.VendorDown: it shows anything else.
    """
    answer = _read(reply)
    if answer.outcome is OnCreate.FULL and not (answer.meaning and answer.meaning.alarm):
        raise VendorFull(answer.say("key"), retry_after=answer.wait)
    page_of(reply)


def account_fault(reply: ApiResponse) -> str:
    """Return the code of an error that only a person can mend: credentials, rights, account; empty for any other.

    Of an answer without a code it is the HTTP status, if that refuses the credentials.
    """
    return _read(reply).account_fault


def _read(reply: ApiResponse) -> CodedAnswer[JobMeaning]:
    body = as_map(decode_object(reply.body).get("Response"))
    error = as_map(body.get("Error"))
    code, message = as_text(error.get("Code")), as_text(error.get("Message"))
    return CodedAnswer(reply, body, code, message, meaning_of(code) if code else None)


def _files(block: Mapping[str, object]) -> Iterator[JobFile]:
    for item in as_list(as_map(block.get("Output")).get("FileInfos")):
        file = as_map(item)
        if url := as_text(file.get("FileUrl")):
            kind = (as_text(file.get("FileType")) or url.partition("?")[0].rpartition(".")[2]).lower()
            yield JobFile(_encrypted(url), _TYPES.get(kind, kind))


def _encrypted(url: str) -> str:
    """Return a link of the vendor's own domains with `https:`: the vendor writes them with `http:`."""
    scheme, separator, rest = url.partition("://")
    own = rest.partition("/")[0].endswith(_ENCRYPTED)
    return f"https://{rest}" if separator and scheme == "http" and own else url
