"""The detector watches the loop under test, and no other."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from blockbuster import BlockingError

from tests.support.patience import PATIENCE_S


def _blocks() -> str:
    async def body() -> str:
        await asyncio.sleep(0)
        try:
            time.sleep(0.001)  # noqa: ASYNC251 - that is what is looked at
        except BlockingError:
            return "seen"
        return "not seen"

    return asyncio.run(body())


async def test_a_call_that_blocks_the_tests_loop_is_seen() -> None:
    with pytest.raises(BlockingError):
        time.sleep(0.001)  # noqa: ASYNC251 - that is what is looked at


async def test_the_loop_of_a_servers_thread_is_not_watched() -> None:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(_blocks()))
    thread.start()
    await asyncio.to_thread(thread.join, PATIENCE_S)
    assert found == ["not seen"]
    # And this one still is.
    with pytest.raises(BlockingError):
        time.sleep(0.001)  # noqa: ASYNC251 - that is what is looked at
