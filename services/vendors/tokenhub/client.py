"""TokenHub's chat completions, or those of any endpoint with OpenAI's form: by base URL, model and key.

Source of every outside fact: docs/reference/tokenhub.md. `answers` and `codes` interpret the answers; this module only
sends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from messages.errors import Permanent
from services.errors import AnswerUnfit, VendorDown, VendorRefused
from services.vendors.chat import ChatAnswer, ChatRequest
from services.vendors.http import ApiResponse, VendorHttp
from services.vendors.tokenhub import answers
from services.vendors.usage import Usage
from telemetry import logs
from telemetry.events import Event
from telemetry.secrets import Secret

if TYPE_CHECKING:
    import httpx

__all__ = ["MODELS_PATH", "TokenHub"]

A = TypeVar("A", bound=msgspec.Struct)

log = logs.get(__name__)

MODELS_PATH: Final = "/models"
"""Lists the models of a key; it costs nothing."""

_CHAT_PATH: Final = "/chat/completions"
_MOST_IMAGES: Final = 20
_IMAGE_LIMIT: Final = 10 * 1024 * 1024
"""20 pictures of 10 MB each (docs/reference/tokenhub.md)."""
_QUOTED_CHARS: Final = 2000
"""Characters of an answer that did not fit which are shown to the model again."""

_DEMAND: Final = (
    "Answer with one JSON object and nothing else: no explanation, no code fence. It must fit this JSON schema:\n"
)
_AGAIN: Final = "That does not fit the JSON schema. Answer again, with the JSON object alone."


class TokenHub:
    """A client with one key. Implements `services.vendors.chat.ChatModel`.

    Args:
        base_url: `https://tokenhub.tencentmaas.com/v1`, or the base of another endpoint; keys belong to one site.
        api_key: the key.
        model: id of the model or of the service.
        label: of the account that the key belongs to.
        transport: makes the transport of a new client; by default one over the network, without proxy or retry.

    Raises:
        messages.errors.Permanent: no header can carry the key, the base URL is malformed, or there is no model.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: Secret,
        model: str,
        label: str = "main",
        transport: Callable[[], httpx.AsyncBaseTransport] | None = None,
    ) -> None:
        if not model:
            raise Permanent("a chat endpoint needs the id of a model")
        self._http = VendorHttp(base_url=base_url, api_key=api_key, timeout=15.0, transport=transport)
        self.model: Final = model
        self.label: Final = label

    @property
    def name(self) -> str:
        """See the port."""
        return "tokenhub"

    @property
    def most_images(self) -> int:
        """See the port."""
        return _MOST_IMAGES

    @property
    def image_limit(self) -> int:
        """See the port."""
        return _IMAGE_LIMIT

    async def ask(self, request: ChatRequest[A], *, timeout: float) -> ChatAnswer[A]:  # noqa: ASYNC109 - the port's own word
        """See the port."""
        if len(request.images) > _MOST_IMAGES:
            raise VendorRefused(f"chat: {len(request.images)} pictures, and at most {_MOST_IMAGES} are taken")
        try:
            async with asyncio.timeout(timeout):
                return await self._ask(request, timeout)
        except TimeoutError:
            raise VendorDown(f"chat: no answer within {timeout:g} s") from None

    async def check(self) -> None:
        """See the port. An endpoint that lists no models passes: the first question shows it."""
        reply = await self._call("GET", MODELS_PATH)
        if reply.status in {404, 405}:
            return
        models = answers.models_of(reply)
        if models and self.model not in models:
            raise VendorRefused(f"the key has no model {self.model!r}, but {', '.join(sorted(models)[:10])}")

    async def close(self) -> None:
        """See the port."""
        await self._http.close()

    async def _ask(self, request: ChatRequest[A], timeout: float) -> ChatAnswer[A]:  # noqa: ASYNC109 - the port's own word
        messages = _messages(request)
        first = answers.words_of(await self._post(request, messages, timeout))
        try:
            return ChatAnswer(answers.fitting(first.text, request.answer), first.usage, first.model or self.model)
        except AnswerUnfit:
            if first.text:
                messages += [
                    {"role": "assistant", "content": first.text[:_QUOTED_CHARS]},
                    {"role": "user", "content": _AGAIN},
                ]
        second = answers.words_of(await self._post(request, messages, timeout))
        value = answers.fitting(second.text, request.answer)
        return ChatAnswer(value, _sum(first.usage, second.usage), second.model or self.model)

    async def _post(self, request: ChatRequest[A], messages: Sequence[Any], timeout: float) -> ApiResponse:  # noqa: ASYNC109 - the port's own word
        body = {"model": self.model, "messages": messages, "max_tokens": request.most_tokens, "stream": False}
        return await self._call("POST", _CHAT_PATH, msgspec.json.encode(body), timeout)

    async def _call(
        self,
        method: str,
        path: str,
        content: bytes = b"",
        timeout: float | None = None,  # noqa: ASYNC109 - the port's own word
    ) -> ApiResponse:
        reply = await self._http.ask(method, path, content, timeout=timeout)
        if code := answers.account_fault(reply):
            log.error(Event.VENDOR_ACCOUNT, vendor=self.name, label=self.label, vendor_code=code)
        return reply


def _messages(request: ChatRequest[A]) -> list[dict[str, Any]]:
    """Return the messages of a question: instructions with the schema, then the text and the pictures."""
    schema = msgspec.json.encode(msgspec.json.schema(request.answer)).decode()
    parts: list[dict[str, Any]] = [{"type": "text", "text": request.text}]
    parts += [{"type": "image_url", "image_url": {"url": url}} for url in request.images]
    return [
        {"role": "system", "content": f"{request.system}\n\n{_DEMAND}{schema}"},
        {"role": "user", "content": parts if request.images else request.text},
    ]


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(tokens_in=one.tokens_in + other.tokens_in, tokens_out=one.tokens_out + other.tokens_out)
