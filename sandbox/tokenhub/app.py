"""The stand-in as one ASGI app: chat completions, the list of models, and the interface for tests.

POST and DELETE /_sandbox/faults    arms a fault (`sandbox.tokenhub.model.Fault`), or disarms all
GET /_sandbox/stats                 counts, and every question that was answered
"""

from __future__ import annotations

import asyncio
import hmac
import time
import uuid
from collections.abc import Callable
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.control import control_routes
from sandbox.runninghub.reading import read_url
from sandbox.spoiled_answers import spoiled_answer
from sandbox.tokenhub.model import ERRORS, Core, Fault, Refused
from sandbox.tokenhub.reading import Question, read_question
from sandbox.tokenhub.writing import compose, fill, look, schema_in

__all__ = ["create_app"]

_IMAGE_LIMIT: Final = 10 * 1024 * 1024
_CHARS_A_TOKEN: Final = 2
_TOKENS_A_PICTURE: Final = 1000
_REFUSAL: Final = "抱歉，我无法协助处理该请求。"


def create_app(
    *,
    api_keys: frozenset[str],
    models: tuple[str, ...] = ("hy4", "hy-vision-2.0-instruct"),
    clock: Callable[[], float] = time.time,
) -> Starlette:
    """Create the app; `app.state.core` arms faults and counts.

    Args:
        api_keys: keys that are taken.
        models: ids of the models that they have.
        clock: seconds, for faults that last.
    """
    handlers = _Handlers(Core(api_keys=api_keys, models=models, clock=clock))
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", handlers.chat, methods=["POST"]),
            Route("/v1/models", handlers.models, methods=["GET"]),
            *control_routes(handlers.core, Fault),
        ]
    )
    app.state.core = handlers.core
    return app


class _Handlers:
    def __init__(self, core: Core) -> None:
        self.core = core

    async def chat(self, request: Request) -> Response:
        body = await request.body()
        try:
            self._check_key(request)
            fault = self.core.take()
            if fault is not None and not fault.is_of_the_answer:
                return await _instead(request, fault)
            return await self._answer(read_question(body, self.core.models), fault.kind if fault else "")
        except Refused as refused:
            self.core.refused += 1
            return _error(refused.code, refused.message)

    async def models(self, request: Request) -> Response:
        try:
            self._check_key(request)
        except Refused as refused:
            return _error(refused.code, refused.message)
        rows = [{"id": model, "object": "model", "owned_by": "stand-in"} for model in self.core.models]
        return _json({"object": "list", "data": rows})

    def _check_key(self, request: Request) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        taken = any(hmac.compare_digest(key.strip().encode(), known.encode()) for known in self.core.api_keys)
        if scheme.lower() != "bearer" or not taken:
            raise Refused("401002")

    async def _answer(self, question: Question, kind: str) -> Response:
        bodies = await asyncio.gather(*map(read_url, question.images))
        for body in bodies:
            if not body:
                raise Refused("400002", "a picture cannot be fetched")
            if len(body) > _IMAGE_LIMIT:
                raise Refused("400002", "a picture has more than 10 MB")
        seen = [await asyncio.to_thread(look, body) for body in bodies]
        prompt = compose(f"violation {question.text}" if kind == "violate" else question.text, seen)
        words = msgspec.json.encode(fill(schema_in(question.system), prompt)).decode()
        self.core.asked.append(
            {
                "model": question.model,
                "system": question.system,
                "text": question.text,
                "pictures": [[len(body), one.width, one.height] for body, one in zip(bodies, seen, strict=True)],
                "turns": question.turns,
                "answer": words,
            }
        )
        return _json(_completion(question, *_spoilt(words, kind), pictures=len(seen)))


def _spoilt(words: str, kind: str) -> tuple[object, str, str]:
    """Return content, finish reason and refusal of an answer with a fault of the kind."""
    content: object = words
    match kind:
        case "chatty":
            content = f"好的，以下是结果 {{草稿}}：\n{words}\n如需调整请告诉我。"
        case "fence":
            content = f"```json\n{words}\n```"
        case "parts":
            half = len(words) // 2
            content = [{"type": "text", "text": part} for part in (words[:half], words[half:])]
        case "empty":
            content = ""
        case "prose":
            content = "这是一件很好看的衣服。"
        case "wrong":
            content = '{"something_else": 1}'
        case "long":
            return words[: len(words) // 2], "length", ""
        case "filtered":
            return "", "content_filter", ""
        case "sensitive":
            return "", "sensitive", ""
        case "refusal":
            return None, "stop", _REFUSAL
        case _:
            pass
    return content, "stop", ""


def _completion(question: Question, content: object, end: str, refusal: str, *, pictures: int) -> dict[str, Any]:
    tokens_in = len(question.system + question.text) // _CHARS_A_TOKEN + pictures * _TOKENS_A_PICTURE
    tokens_out = len(str(content)) // _CHARS_A_TOKEN
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if refusal:
        message["refusal"] = refusal
    return {
        "id": uuid.uuid4().hex,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": question.model,
        "choices": [{"index": 0, "message": message, "finish_reason": end}],
        "usage": {
            "prompt_tokens": tokens_in,
            "completion_tokens": tokens_out,
            "total_tokens": tokens_in + tokens_out,
        },
    }


async def _instead(request: Request, fault: Fault) -> Response:
    waits = {"Retry-After": str(fault.retry_after)} if fault.retry_after else {}
    match fault.kind:
        case "error":
            return _error(fault.code, ERRORS[fault.code][2], waits)
        case "inside":
            return _error(fault.code, ERRORS[fault.code][2], waits, status=200)
        case "no_choices":
            return _json({"id": uuid.uuid4().hex, "object": "chat.completion", "choices": []})
        case _:
            return await spoiled_answer(request, fault.kind, fault.status, waits)


def _error(code: str, message: str, headers: dict[str, str] | None = None, *, status: int = 0) -> Response:
    of_code, kind, _ = ERRORS[code]
    error = {
        "type": kind,
        "code": code,
        "message": message,
        "source": "gateway",
        "request_id": uuid.uuid4().hex,
    }
    return _json({"error": error}, status or of_code, headers)


def _json(content: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(content), status, headers, media_type="application/json")
