"""A chat model that is left alone for a moment after an outage.

A model that hangs would otherwise hold a permit of the workers for every waiting prompt, and with them the messages
that need no model.
"""

from __future__ import annotations

import asyncio
from typing import Final, TypeVar, final

import msgspec

from messages.errors import ScfWorkersError
from services.errors import VendorDown, VendorFull
from services.vendors.chat import ChatAnswer, ChatModel, ChatRequest, ChatWrapper

__all__ = ["DOWN_S", "FULL_S", "LONGEST_S", "GuardedChat"]

A = TypeVar("A", bound=msgspec.Struct)

DOWN_S: Final = 5.0
"""Seconds for which a model is left alone after an outage that names no time."""

FULL_S: Final = 1.0
"""The same after a rate limit."""

LONGEST_S: Final = 60.0
"""Longest such time, even if the vendor asks for more."""


@final
class GuardedChat(ChatWrapper):
    """A chat model that is tried with one question at a time while it is down. Implements `ChatModel`.

    Every other question is answered `VendorDown` at once; the first answer of the model ends that.

    Args:
        model: the client.
    """

    def __init__(self, model: ChatModel) -> None:
        super().__init__(model)
        self._until = 0.0
        """When it may be tried again, by the loop's clock; 0 while all is well."""
        self._is_tried = False

    async def ask(self, request: ChatRequest[A], *, timeout: float) -> ChatAnswer[A]:  # noqa: ASYNC109 - the port's own word
        """See the port."""
        if not self._until:
            return await self._ask(request, timeout)
        if self._is_tried or asyncio.get_running_loop().time() < self._until:
            raise VendorDown("chat: it was away a moment ago")
        self._is_tried = True
        try:
            return await self._ask(request, timeout)
        finally:
            self._is_tried = False

    async def _ask(self, request: ChatRequest[A], timeout: float) -> ChatAnswer[A]:  # noqa: ASYNC109 - the port's own word
        try:
            answer = await self._model.ask(request, timeout=timeout)
        except (VendorDown, VendorFull) as away:
            usual = FULL_S if isinstance(away, VendorFull) else DOWN_S
            pause = usual if away.retry_after is None else min(away.retry_after, LONGEST_S)
            self._until = asyncio.get_running_loop().time() + pause
            raise
        except ScfWorkersError:
            # A refusal is an answer too.
            self._until = 0.0
            raise
        self._until = 0.0
        return answer
