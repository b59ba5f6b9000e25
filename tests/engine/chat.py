"""A chat model with scripted answers; without a script all goes well."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from services.errors import VendorDown
from services.objects.port import Result
from services.vendors.chat import ChatAnswer, ChatRequest
from services.vendors.usage import Usage
from tests.engine.fault_injector import FaultInjector

CLEAN = Result(violation=False, suspect=False, label="Normal", score=0)


class ScriptedChat:
    """Answers and errors are taken from the left of `script`, one for each question."""

    name = "tokenhub"
    label = "main"
    most_images = 20
    image_limit = 10 << 20

    def __init__(self, injector: FaultInjector) -> None:
        self.injector = injector
        self.model = "hy4"
        self.script: deque[str | Exception] = deque()
        self.down = False
        """It gives no answer at all."""
        self.asked: list[ChatRequest[Any]] = []

    async def ask(self, request: ChatRequest[Any], *, timeout: float) -> ChatAnswer[Any]:  # noqa: ASYNC109 - the port's word
        self.asked.append(request)
        try:
            async with asyncio.timeout(timeout):
                await self.injector.pass_by("chat.ask", done=False)
        except TimeoutError:
            raise VendorDown("no answer in time") from None
        if self.down:
            raise VendorDown("no answer")
        said = self.script.popleft() if self.script else f"提示词{len(self.asked)}"
        if isinstance(said, Exception):
            raise said.with_traceback(None)
        await self.injector.pass_by("chat.ask", done=True)
        return ChatAnswer(request.answer(prompt=said), Usage(tokens_in=100, tokens_out=20), self.model)

    async def check(self) -> None:
        if self.down:
            raise VendorDown("no answer")

    async def close(self) -> None:
        pass


def judged(text: str) -> Result:
    """Finding of the audit in a text: it looks for one word."""
    return Result(violation=True, suspect=False, label="Porn", score=95) if "violation" in text else CLEAN
