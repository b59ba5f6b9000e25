"""Requests to the stand-in, with their armed faults."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from sandbox.ark.core import Core, Drawing
from sandbox.ark.model import Fault, ImageRequest, Model, Refusal
from sandbox.ark.pictures import Pictures
from sandbox.ark.reading import body_of, image_request_of
from sandbox.runninghub.reading import read_url
from sandbox.spoiled_answers import spoiled_answer
from sandbox.spoiled_files import denied, file_or_spoiled, spoiled_file

__all__ = ["RequestHandlers", "reply"]

P = ParamSpec("P")
T = TypeVar("T")

_MOMENT: Final = 0.05
"""Seconds between two blanks of a slow answer."""
_BLANKS: Final = 12_000


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

    async def generate(self, request: Request) -> Response:
        """Answer a request for a picture."""
        content = await request.body()
        key = _bearer(request)
        if not self.core.knows(key):
            return _refuse(Refusal("AuthenticationError", "The API key in the request is missing or invalid."))
        try:
            body = body_of(content)
            # A request without a model tests the key: faults of creates must not be used up by it.
            on = "create" if body.get("model") else "key"
            self.core.count(f"{on}s")
            fault = self.core.faults.take(on)
            if fault and fault.replaces and not fault.accepted:
                return await _replaced(request, fault)
            return await self._answer(request, key, body, fault)
        except Refusal as refusal:
            self.core.count("refused")
            return _refuse(refusal)

    async def file(self, request: Request) -> Response:
        """Serve a picture: by GET alone, since the signature covers the method."""
        fault = self.core.faults.take("file")
        if fault and (spoiled := spoiled_file(fault.kind, fault.status)):
            return spoiled
        query = request.query_params
        token = str(request.path_params["token"])
        try:
            drawing, index = self.core.file(
                request.method, token, query.get("X-Tos-Date", ""), query.get("X-Tos-Signature", "")
            )
        except KeyError:
            return denied(404, "NoSuchKey")
        except PermissionError as error:
            return denied(403, str(error))
        body = await self._run(self._pictures.draw, drawing, index)
        return file_or_spoiled(body, fault.kind if fault else "", f"image/{drawing.wanted.format}")

    async def _answer(self, request: Request, key: str, body: Mapping[str, object], fault: Fault | None) -> Response:
        wanted = image_request_of(body, self.core.models)
        self.core.check_rate(key, wanted.model)
        references = await self._fetch(wanted, self.core.models[wanted.model])
        kind = fault.kind if fault else ""
        if fault and kind in {"error_in_200", "item_error", "empty"}:
            return reply(_without_picture(wanted, fault, int(self.core.clock())))
        drawing = self.core.accept(key, wanted, references, 2 if kind == "more" else 1)
        await asyncio.sleep(drawing.duration)
        if fault and fault.replaces:
            return await _replaced(request, fault)
        return reply(await self._content(drawing, fault, self._base_url(request)))

    async def _content(self, drawing: Drawing, fault: Fault | None, base_url: str) -> dict[str, Any]:
        items: list[dict[str, Any]] = []
        for index in range(drawing.pictures):
            item: dict[str, Any] = {"size": "{}x{}".format(*drawing.wanted.size)}
            if drawing.wanted.base64 or (fault and fault.kind == "base64"):
                item["b64_json"] = base64.b64encode(await self._run(self._pictures.draw, drawing, index)).decode()
            else:
                item["url"] = self.core.link(drawing, index, base_url)
            items.append(item)
        if fault and fault.kind == "partly":
            items.insert(0, {"error": dict(fault.refusal.error)})
        usage = {
            "generated_images": drawing.pictures,
            "output_tokens": drawing.tokens,
            "total_tokens": drawing.tokens,
        }
        return {"model": drawing.wanted.model, "created": int(drawing.created), "data": items, "usage": usage}

    async def _fetch(self, wanted: ImageRequest, model: Model) -> tuple[str, ...]:
        """Return the paths of the references, fetched or decoded.

        Raises:
            Refusal: one cannot be had, or the model does not take it.
        """
        paths: list[str] = []
        for reference in wanted.references:
            body = _decoded(reference) if reference.startswith("data:") else await read_url(reference)
            if not body:
                raise Refusal("InvalidImageURL", "The image could not be downloaded.")
            self.core.count("references")
            paths.append(await self._run(self._pictures.keep, body, model))
        return tuple(paths)

    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, partial(function, *args, **kwargs))

    def _base_url(self, request: Request) -> str:
        url = self._public_url if isinstance(self._public_url, str) else self._public_url()
        return (url or str(request.base_url)).rstrip("/")


def reply(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON answer."""
    return Response(msgspec.json.encode(content), status, headers, media_type="application/json")


def _refuse(refusal: Refusal) -> Response:
    wait = refusal.retry_after
    headers = {} if wait is None else {"Retry-After": str(max(1, round(wait)))}
    return reply({"error": refusal.error}, refusal.status, headers)


def _without_picture(wanted: ImageRequest, fault: Fault, created: int) -> dict[str, Any]:
    """Return a 200 that holds an error, or nothing, and no charge."""
    error = dict(fault.refusal.error) if fault.code else {}
    if fault.kind == "error_in_200":
        return {"error": error}
    items = [{"error": error}] if error else []
    usage = {"generated_images": 0, "output_tokens": 0, "total_tokens": 0}
    return {"model": wanted.model, "created": created, "data": items, "usage": usage}


async def _replaced(request: Request, fault: Fault) -> Response:
    match fault.kind:
        case "answer":
            return _refuse(fault.refusal)
        case "slow":
            return StreamingResponse(_blanks(), media_type="application/json")
        case _:
            return await spoiled_answer(request, fault.kind, fault.status)


async def _blanks() -> AsyncIterator[bytes]:
    for _ in range(_BLANKS):
        yield b" "
        await asyncio.sleep(_MOMENT)


def _bearer(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def _decoded(reference: str) -> bytes:
    head, _, content = reference.partition(",")
    if not head.endswith(";base64") or head != head.lower():
        raise Refusal("InvalidImageURL.InvalidFormat", "The data URI of the image is not valid.")
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal("InvalidImageURL.InvalidFormat", "The base64 of the image is not valid.") from None
