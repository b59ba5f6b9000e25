"""Our functions, as their image starts them."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from console.cli.client import Client, Sold, open_client
from runtime.settings import load_settings
from sandbox.environment import Sandbox
from sandbox.scf import Function
from tests.support.patience import PATIENCE_S

ROOT: Final = Path(__file__).parents[2]
PHOTO: Final = ROOT / "sandbox" / "photos" / "portrait.jpg"
USER: Final = "u-1024"
HANDLERS: Final = Path(__file__).parent / "handlers"
SLOWED: Final = "slowed"


def alone(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a coroutine test without the detector of blocking calls: the stand-ins share its process, and may block."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        asyncio.run(test(*arguments, **named))

    return run


def function(handler: str, environ: Mapping[str, str], **options: Any) -> Function:
    """One of ours."""
    return Function(
        (sys.executable, "-m", "runtime.image", handler),
        {"PYTHONPATH": str(ROOT), **environ},
        name=handler.replace(".", "-"),
        retry_after_s=0.1,
        init_limit_s=PATIENCE_S,
        **options,
    )


def slowed(handler: str, seconds: float) -> dict[str, str]:
    """Variables with which `function(SLOWED, ...)` is that handler, so much slower with each message."""
    path = os.pathsep.join((str(ROOT), str(HANDLERS)))
    return {"SLOWED": handler, "SLOW_S": str(seconds), "PYTHONPATH": path}


async def until(condition: Callable[[], Any], what: str) -> None:
    """Wait for a condition, which may be a coroutine function's."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = condition()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.05)


def lines(log: Path, event: str) -> list[dict[str, Any]]:
    """Log lines of the functions about an event."""
    reported = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    return [line for line in reported if line.get("event") == event]


class Buyer:
    """A client of a sandbox, and what the test asks of the stand-ins."""

    def __init__(self, sandbox: Sandbox, client: Client) -> None:
        self.sandbox = sandbox
        self.client = client

    async def buy(self, kind: str) -> Sold:
        sold = await self.client.buy(USER, kind, {})
        await self.client.upload(sold, (PHOTO,))
        return sold

    async def row(self, sold: Sold) -> dict[str, Any]:
        """The backend's row of a task that has ended: every callback alike, and signed."""
        (row,) = (await asyncio.to_thread(self.sandbox.quota_account, sold.task_id))["tasks"]
        assert all(call["signature_ok"] for call in row["callbacks"])
        assert Counter(call["status"] for call in row["callbacks"]).keys() == {row["status"]}
        return dict(row)

    async def has_ended(self, *sold: Sold) -> bool:
        return all([await self.client.status(one) != "pending" for one in sold])


@asynccontextmanager
async def buyer_of(sandbox: Sandbox) -> AsyncGenerator[Buyer]:
    async with open_client(load_settings(sandbox.environ)) as client:
        yield Buyer(sandbox, client)
