"""The engine's harness, with a list of unfinished tasks for the sweep and a vendor that forgets jobs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Final, Self, cast

from messages.bodies import Stage, Wake
from messages.codec import decode
from messages.keys import RunId
from producer.sweep import Swept, sweep
from producer.sweep_rules import OLDER_THAN_S
from producer.webhook import take_call
from recipes.table import RECIPES
from services.unfinished import UnfinishedPage, UnfinishedTask
from services.vendors.port import JobState, JobStatus
from tasks.calls.webhook_paths import Webhooks
from telemetry.secrets import Secret
from tests.engine.harness import Harness
from tests.engine.standins import ScriptedBackend, ScriptedVendor
from tests.engine.virtual import wall

BASE_URL: Final = "https://hooks.example"
SECRET: Final = Secret("the-callback-secret-of-the-sweeps-tests")


@dataclass
class ListingBackend(ScriptedBackend):
    """Lists unfinished tasks as the stand-in does, besides rows that a test adds."""

    lost: list[UnfinishedTask] = field(default_factory=list)
    """Rows that it always lists."""
    asked: list[str] = field(default_factory=list)
    """Cursors it was asked with."""

    async def unfinished(self, older_than: int, cursor: str = "") -> UnfinishedPage:
        await self.injector.pass_by("backend.unfinished", done=False)
        self.asked.append(cursor)
        rows, last = self.book.unfinished(wall() - older_than, int(cursor or 0))
        listed = tuple(UnfinishedTask(**row) for row in rows)
        await self.injector.pass_by("backend.unfinished", done=True)
        return UnfinishedPage(listed if last else (*listed, *self.lost), str(last) if last else None)

    def sell_many(self, count: int) -> None:
        """Tasks without an upload."""
        for number in range(1, count + 1):
            self.book.sell("u1", f"m{number}", 0, "basic_clean", "{}", wall())


class ForgetfulVendor(ScriptedVendor):
    """A vendor that does not know a job that it never had."""

    async def query(self, job_id: str, *, kind: str = "") -> JobStatus:
        if job_id in self.jobs:
            return await super().query(job_id, kind=kind)
        await self._injector.pass_by(f"vendor.query {job_id}", done=False)
        return JobStatus(JobState.FAILED, known=False)


class SweepHarness(Harness):
    """See the module."""

    backend: ListingBackend

    def __init__(self) -> None:
        super().__init__()
        self.vendor = ForgetfulVendor(self.injector, RECIPES["model_pose12"].count)
        self.webhooks = Webhooks(BASE_URL, SECRET)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.backend = ListingBackend(self.injector, self.backend.book, self.backend.heard)
        self.out = dataclasses.replace(self.out, backend=cast("Any", self.backend), webhooks=self.webhooks)
        self.engine = self.new_engine()
        return self

    async def sweep(self, older_than: float = OLDER_THAN_S, **more: Any) -> Swept:
        """The timer's call."""
        return await sweep(self.out, older_than=older_than, **more)

    async def past(self, stage: str, seq: int = 0) -> None:
        """Work up to a message of a stage and on that one; its successors are not due yet."""
        await self.run(*await self.until(stage, seq))

    async def lose_everything(self) -> None:
        """The broker loses what it holds."""
        while self.wire.open:
            delivery, consumer = await self.take()
            await consumer.ack(delivery)

    async def lose_next(self) -> str:
        """The broker loses the message that is due next. Returns its stage."""
        delivery, consumer = await self.take()
        await consumer.ack(delivery)
        return decode(delivery.payload).header.stage

    async def webhook(self, run: RunId, job: str, n: int = 1) -> int:
        """The vendor calls. Returns the HTTP status of the answer."""
        path = self.webhooks.url("runninghub", run, 1, n).removeprefix(BASE_URL)
        body = f'{{"event":"TASK_END","taskId":"{job}","eventData":"{{}}"}}'
        answer = await take_call({"httpMethod": "POST", "path": path, "headers": {}, "body": body}, self.out)
        return int(answer["statusCode"])

    def wakes(self) -> list[Wake]:
        """Every wake ever stored."""
        found = [decode(sent.payload) for sent in self.wire.sent]
        return [cast("Wake", message.body) for message in found if message.header.stage == Stage.WAKE]

    def list_again(self, run: RunId, kind: str = "model_pose12") -> None:
        """The backend has lost the callbacks about the run."""
        self.backend.lost.append(UnfinishedTask(run.task, run.user, run.step, self.now(), kind))
