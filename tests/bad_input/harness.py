"""The engine's harness where tickets are required, uploads come by COS events, and refusals are checked whole."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any, Final, Self

import msgspec

from messages.codes import Code
from messages.keys import RunId
from producer.cos_trigger import take_event
from sandbox.cos.ci.pictures import Picture, process
from sandbox.cos.errors import BadPicture as NoPicture
from sandbox.cos.errors import UnknownOperation
from services.objects._failures import Failure, error_of
from tasks.accepting import tickets
from tasks.context import Policy
from tasks.ledger.records import Verdict
from tasks.wakes import LATEST, SWEEP
from telemetry.secrets import Secret
from tests.engine.harness import BUCKET, USER, Harness

SECRET: Final = Secret("the-ticket-secret-of-the-tests-of-bad-input")
HOUR: Final = 3600

# Texts that the backend expects as they are; every other text says what to do.
FIXED_WORDS: Final = {Code.TIMEOUT, Code.CONTENT_VIOLATION, Code.CANCELLED, Code.NOT_UPLOADED}


def service(body: bytes, rule: str) -> Picture:
    """The stand-in's picture service, whose refusals go through the product's own table of codes."""
    try:
        return process(body, rule)
    except NoPicture as error:
        raise error_of(Failure("process", "the upload", status=400, code=error.code)) from error
    except UnknownOperation as error:
        raise error_of(Failure("process", "the upload", status=400, code="InvalidArgument")) from error


def event(*keys: str, name: str = "cos:ObjectCreated:Put", bucket: str = BUCKET) -> dict[str, Any]:
    """A COS event with one record for each key."""
    return {"Records": [record(key, name=name, bucket=bucket) for key in keys]}


def record(key: str, *, name: str = "cos:ObjectCreated:Put", bucket: str = BUCKET) -> dict[str, Any]:
    stem, _, appid = bucket.rpartition("-")
    return {
        "cos": {
            "cosObject": {"key": f"/{appid}/{stem}/{key}", "size": 1029, "meta": {"x-cos-meta-kind": "of the event"}},
            "cosBucket": {"region": "gz", "name": stem, "appid": appid},
        },
        "event": {
            "eventName": name,
            "requestParameters": {"requestHeaders": {"Authorization": "q-sign-algorithm=sha1&q-ak=AKIDuploader"}},
        },
    }


class TicketHarness(Harness):
    """A harness in which only what was sold is done."""

    def __init__(self) -> None:
        super().__init__(paint=service)
        self._numbers_sold = itertools.count(1)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.out = dataclasses.replace(self.out, policy=Policy(ticket_secret=SECRET))
        self.engine = self.new_engine()
        return self

    def sell(self, kind: str = "basic_clean", params: Any = None, task: str = "") -> RunId:
        """Sell a task: charges quota."""
        run = RunId(USER, task or f"sold{next(self._numbers_sold)}")
        values = msgspec.json.encode(params or {}).decode()
        self.backend.book.sell(run.user, run.task, 0, kind, values, self.now())
        return run

    def ticket(
        self, run: RunId, kind: str = "basic_clean", params: Any = None, secret: Secret = SECRET, **changes: Any
    ) -> str:
        """A ticket as the backend issues it, good for an hour."""
        sold = tickets.Ticket(
            user=run.user,
            task=run.task,
            step=run.step,
            kind=kind,
            params_digest=tickets.digest(params or {}),
            expires=int(self.now()) + HOUR,
        )
        return tickets.issue(msgspec.structs.replace(sold, **changes), secret)

    async def put(self, run: RunId, name: str, body: bytes, meta: Mapping[str, str] | None = None) -> str:
        """Store a file in the task's folder, whatever its metadata holds: a client need not use our store's checks."""
        key = f"input/{run.user}/{run.task}/{name}"
        await self.data.put(key, body)
        content = self.data._stored[key]
        info = msgspec.structs.replace(content.info, meta=dict(meta or {}))
        self.data._stored[key] = msgspec.structs.replace(content, info=info)
        return key

    async def submit(
        self, body: bytes, *, name: str = "original.jpg", kind: str = "basic_clean", params: Any = None
    ) -> RunId:
        """Buy a task, upload a picture with its order, deliver the event, and work until no message is left."""
        run = self.sell(kind, params)
        meta = {
            "kind": kind,
            "params": msgspec.json.encode(params or {}).decode(),
            "ticket": self.ticket(run, kind, params),
        }
        await self.deliver(await self.put(run, name, body, meta))
        return run

    async def deliver(self, *keys: str) -> dict[str, int]:
        """Deliver COS's events of uploads, and work until no message is left."""
        counts = {name: count for name, count in (await take_event(event(*keys), self.out)).items() if count}
        await self.drain()
        return counts

    async def refused(self, run: RunId, *codes: Code) -> Code:
        """A run has failed for a fault of its own, as it should: one callback, one refund, and no objects left."""
        verdict: Verdict = await self.verdict(run)
        code = Code(verdict.code)
        assert code in codes, f"{code} is none of {codes}"
        assert verdict.status == "failed"
        (call,) = [call for call in self.backend.heard if call.task == run.task]
        assert (call.status, call.code, call.outputs) == ("failed", code, ())
        assert call.message == code_text(code)
        assert self.state(run) == ("failed", 1, 1)
        assert await self.outputs(run) == []
        assert await self.staged(run) == []
        assert self.vendor.paid == []
        assert await self.dead_letters() == []
        assert self.wire.open == {}
        return code

    async def unheard(self, run: RunId, *codes: Code) -> Code:
        """The task gets no record or callback until the backend's own list ends it, like a task without an upload."""
        assert await self.records(run) == {}
        assert self.heard(run) == []
        assert self.wire.sent == []
        since = int(self.now() * 1000)
        await self._listed(run, since)
        assert await self.records(run) == {}
        await asyncio.sleep(self.out.policy.upload_limit_s)
        await self._listed(run, since)
        return await self.refused(run, *(codes or (Code.NOT_UPLOADED,)))

    async def _listed(self, run: RunId, since: int) -> None:
        """The sweep finds the task in the backend's list."""
        await self.wake(run, SWEEP, LATEST, since=since)
        await self.drain()

    async def untouched(self) -> None:
        """No callbacks, messages, results or records."""
        assert self.backend.heard == []
        assert self.wire.sent == []
        assert await self.keys("output/") == []
        assert await self.keys("staging/") == []
        assert [item.key for item in (await self.ledger.objects.list("")).items] == []


def code_text(code: Code) -> str:
    """The text of a code, which is Chinese and, save for the backend's own words, tells the user what to do."""
    from messages.codes import text_of

    text = text_of(code)
    assert any("\u4e00" <= letter <= "\u9fff" for letter in text)
    assert code in FIXED_WORDS or "请" in text
    return text
