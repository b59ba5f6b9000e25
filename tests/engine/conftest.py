"""Coroutine tests here run on virtual time; their fixture `harness` is open while they run."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import AsyncExitStack

import pytest

from tests.engine.harness import Harness
from tests.engine.virtual import VirtualLoop


@pytest.fixture
def harness() -> Harness:
    return Harness()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}

    async def play() -> None:
        async with AsyncExitStack() as stack:
            for value in arguments.values():
                if isinstance(value, Harness):
                    await stack.enter_async_context(value)
            await pyfuncitem.obj(**arguments)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(play())
    return True
