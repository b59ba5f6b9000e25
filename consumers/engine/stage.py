"""Stages by their arguments: each pairs a body type with a function that takes it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from consumers.engine.outcomes import Outcome
from messages.bodies import Body
from messages.codec import Header, Message
from messages.errors import InvalidMessage, Permanent
from tasks.context import Services
from tasks.run import Task

__all__ = ["StageFunction", "of_body", "of_task", "of_task_if_marked"]

B = TypeVar("B", bound=Body)
_Work = Coroutine[Any, Any, Outcome]

StageFunction = Callable[[Message, Task | None, Services], _Work]
"""(message, its task if the message is marked, services) -> outcome. Made by the functions below."""


def of_body(kind: type[B], work: Callable[[Header, B, Services], _Work]) -> StageFunction:
    """Return a stage that reads the ledger itself."""

    def start(message: Message, _task: Task | None, services: Services) -> _Work:
        return work(message.header, _body(message, kind), services)

    return start


def of_task(kind: type[B], work: Callable[[Header, B, Task, Services], _Work]) -> StageFunction:
    """Return a stage whose messages are all marked: its task has been read."""

    def start(message: Message, task: Task | None, services: Services) -> _Work:
        if task is None:
            raise Permanent(f"the stage {message.header.stage} needs its task")
        return work(message.header, _body(message, kind), task, services)

    return start


def of_task_if_marked(kind: type[B], work: Callable[[Header, B, Task | None, Services], _Work]) -> StageFunction:
    """Return a stage of which some messages are marked."""

    def start(message: Message, task: Task | None, services: Services) -> _Work:
        return work(message.header, _body(message, kind), task, services)

    return start


def _body(message: Message, kind: type[B]) -> B:
    if not isinstance(message.body, kind):
        raise InvalidMessage(f"a {message.header.stage} message has the body of another stage")
    return message.body
