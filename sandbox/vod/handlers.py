"""Requests to the stand-in, with their armed faults."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from sandbox.runninghub.reading import read_url
from sandbox.spoiled_answers import spoiled_answer
from sandbox.spoiled_files import denied, file_or_spoiled, spoiled_file
from sandbox.vod.core import Core
from sandbox.vod.model import IMAGE, SCENE, Fault, Job, Refusal
from sandbox.vod.pictures import Pictures
from sandbox.vod.reading import body_of, check_application, wanted_of
from sandbox.vod.signatures import account_of

__all__ = ["RequestHandlers", "reply"]

P = ParamSpec("P")
T = TypeVar("T")

_VERSION: Final = "2018-07-17"
_CREATES: Final = {"CreateAigcImageTask": IMAGE, "CreateSceneAigcImageTask": SCENE}
_CALLS: Final = {
    **dict.fromkeys(_CREATES, "create"),
    "DescribeTasks": "list",
    "DescribeTaskDetail": "query",
    "ManageTask": "cancel",
}
_COUNTS: Final = {"create": "creates", "list": "lists", "query": "queries", "cancel": "cancels"}


class RequestHandlers:
    """Core and pictures together.

    Args:
        core: the state.
        pictures: references and results.
        executor: runs blocking work.
        public_url: base of the links to results, or a function that returns it; empty for the base of each request.
    """

    def __init__(self, core: Core, pictures: Pictures, executor: Executor, public_url: Callable[[], str] | str) -> None:
        self.core: Final = core
        self._pictures = pictures
        self._executor = executor
        self._public_url = public_url

    async def call(self, request: Request) -> Response:
        """Answer a call of the interface."""
        content = await request.body()
        action = request.headers.get("x-tc-action", "")
        try:
            account = account_of(dict(request.headers), content, self.core.accounts, self.core.clock())
            on = _call_of(action, request.headers.get("x-tc-version", ""))
            self.core.count(_COUNTS[on])
            fault = self.core.faults.take(on)
            if fault and fault.replaces and not fault.accepted:
                return await _replaced(request, fault)
            body = body_of(content)
            check_application(body, self.core.accounts[account])
            answer = await self._answer(request, on, account, action, body, fault)
        except Refusal as refusal:
            self.core.count("refused")
            return _refuse(refusal)
        return await _replaced(request, fault) if fault and fault.replaces else answer

    async def file(self, request: Request) -> Response:
        """Serve a picture."""
        fault = self.core.faults.take("file")
        if fault and (spoiled := spoiled_file(fault.kind, fault.status)):
            return spoiled
        query = request.query_params
        try:
            job, index = self.core.file(str(request.path_params["name"]), query.get("t", ""), query.get("sign", ""))
        except KeyError:
            return denied(404, "NoSuchKey")
        except (PermissionError, ValueError):
            return denied(403, "AccessDenied")
        body = await self._run(self._pictures.draw, job, index)
        return file_or_spoiled(body, fault.kind if fault else "", f"image/{job.wanted.format}")

    async def _answer(
        self, request: Request, on: str, account: str, action: str, body: Mapping[str, Any], fault: Fault | None
    ) -> Response:
        kind = fault.kind if fault else ""
        match on:
            case "create":
                return await self._create(account, _CREATES[action], body, fault)
            case "list":
                return _said(self.core.page(account, body, lags=kind == "lags"))
            case "query":
                if kind == "unknown":
                    raise Refusal("ResourceNotFound", "The task does not exist.")
                job = self.core.job(account, str(body.get("TaskId", "")))
                job.queries += 1
                return _said(self._detail(job, self._base_url(request)))
            case _:
                if body.get("OperationType") != "Abort":
                    raise Refusal("InvalidParameterValue", "The OperationType is not valid.")
                self.core.abort(account, str(body.get("TaskId", "")))
                return _said({})

    async def _create(self, account: str, kind: str, body: Mapping[str, Any], fault: Fault | None) -> Response:
        wanted = wanted_of(body, kind)
        job = self.core.accept(account, wanted)
        if fault:
            _spoil(job, fault)
        await self._fetch(job)
        if fault and fault.kind == "repeated":
            self.core.accept(account, wanted)
        return _said({"TaskId": job.id})

    async def _fetch(self, job: Job) -> None:
        """Fetch the references; a job whose reference cannot be had fails."""
        paths: list[str] = []
        for url in job.wanted.references:
            body = await read_url(url)
            path = await self._run(self._pictures.keep, body) if body else ""
            if not path:
                job.failure = job.failure or ("InvalidParameter.MediaFormat" if body else "ResourceNotFound")
            paths.append(path)
        job.references = tuple(filter(None, paths))

    def _detail(self, job: Job, base_url: str) -> dict[str, Any]:
        state = job.state(self.core.clock())
        ended = state in {"FINISH", "ABORTED"}
        files = [
            # As the vendor: no type, and the mode of storage.
            {"StorageMode": "Temporary", "FileType": "", "FileUrl": self.core.link(job, index, base_url), "FileId": ""}
            for index in range(job.files if state == "FINISH" and not job.failure else 0)
        ]
        block = {
            "TaskId": job.id,
            "Status": "FINISH" if ended else "PROCESSING",
            "ErrCode": 0 if not (ended and job.failure) else 70000,
            "ErrCodeExt": job.failure if ended else "",
            "Message": f"The task failed: {job.failure}" if ended and job.failure else "",
            "Progress": 100 if ended else 50,
            "Output": {"FileInfos": files},
            "SessionId": job.wanted.session,
            "SessionContext": job.wanted.context,
        }
        blocks = {IMAGE: None, SCENE: None, job.wanted.type: block}
        return {"TaskType": job.wanted.type, "Status": state, **blocks}

    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, partial(function, *args, **kwargs))

    def _base_url(self, request: Request) -> str:
        url = self._public_url if isinstance(self._public_url, str) else self._public_url()
        return (url or str(request.base_url)).rstrip("/")


def _call_of(action: str, version: str) -> str:
    if action not in _CALLS:
        raise Refusal("InvalidAction", "The action is not known.")
    if version != _VERSION:
        raise Refusal("NoSuchVersion", "The version is not known.")
    return _CALLS[action]


def reply(content: object, status: int = 200) -> Response:
    """Return a JSON answer."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def _said(content: Mapping[str, Any]) -> Response:
    return reply({"Response": {**content, "RequestId": "4be58668-2073-4cfe-8fc7-052774eccefc"}})


def _refuse(refusal: Refusal) -> Response:
    return _said({"Error": dict(refusal.error)})


def _spoil(job: Job, fault: Fault) -> None:
    match fault.kind:
        case "job_fails":
            job.failure = fault.code
        case "never_ends":
            job.ends = False
        case "no_file":
            job.files = 0
        case "more":
            job.files = 2
        case _:
            pass


async def _replaced(request: Request, fault: Fault) -> Response:
    match fault.kind:
        case "answer":
            return _refuse(Refusal(fault.code, fault.message))
        case _:
            return await spoiled_answer(request, fault.kind, fault.status)
