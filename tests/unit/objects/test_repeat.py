"""A request to the store that failed at once is made again; what no quick repeat can help is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from services.errors import Denied, Exists, Forbidden, ObjectsDown
from services.objects.repeat import repeated
from tests.engine.virtual import virtually


class Request:
    """Fails as told, then answers."""

    def __init__(self, *errors: Exception, takes: float = 0.0) -> None:
        self._errors = [*errors]
        self._takes = takes
        self.made = 0

    async def __call__(self) -> str:
        self.made += 1
        await asyncio.sleep(self._takes)
        if self._errors:
            raise self._errors.pop(0)
        return "answer"


def on_virtual_time(request: Request, after: Callable[[float], None] = lambda _: None) -> str:
    answers: list[str] = []

    async def body() -> None:
        answers.append(await repeated(request))
        after(asyncio.get_running_loop().time())

    virtually(body)
    return answers[0]


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_two_quick_failures_are_no_outage(failures: int) -> None:
    request, took = Request(*[ObjectsDown("503")] * failures), list[float]()
    assert on_virtual_time(request, took.append) == "answer"
    assert request.made == failures + 1
    assert took[0] <= 2


def test_three_are() -> None:
    request = Request(*[ObjectsDown("503")] * 3)
    with pytest.raises(ObjectsDown):
        on_virtual_time(request)
    assert request.made == 3


@pytest.mark.parametrize(
    "error",
    [Denied("403"), Forbidden("403"), ObjectsDown("503", retry_after=9.0), Exists("there"), ValueError("defect")],
)
def test_what_no_quick_repeat_can_help_is_raised_at_once(error: Exception) -> None:
    request = Request(error)
    with pytest.raises(type(error)):
        on_virtual_time(request)
    assert request.made == 1


def test_a_store_that_hangs_is_not_asked_again() -> None:
    request = Request(ObjectsDown("no answer"), takes=10.0)
    with pytest.raises(ObjectsDown):
        on_virtual_time(request)
    assert request.made == 1
