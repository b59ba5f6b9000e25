"""Inputs given as URLs: fetched by the first stage, once; one that cannot be had fails the task, with a refund."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Sequence
from typing import Any

import httpx
import msgspec
import pytest

from consumers.stages.fetch_inputs import inputs_of
from messages.codes import Code
from messages.keys import RunId
from services.urls import HostRules
from tasks.accepting.accept import take_in
from tasks.accepting.inputs import source_key
from tasks.ledger.records import FetchedInputs
from tasks.run import load_task
from tests.engine.harness import Harness, photo

URL = "https://pictures.example/photo"


class Hosts:
    """Hosts of the internet, as the fetcher sees them: answers in turn, the last one again and again."""

    def __init__(self, *answers: httpx.Response | Exception, addresses: Sequence[str] = ("93.184.216.34",)) -> None:
        self.answers = list(answers)
        self.addresses = addresses
        self.asked: list[str] = []

    async def resolve(self, host: str, _port: int) -> Sequence[str]:
        if not self.addresses:
            raise socket.gaierror("no such name")
        return self.addresses

    async def handle(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(f"{request.headers['Host']}{request.url.path}")
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(answer.content))


class _Transport(httpx.AsyncBaseTransport):
    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._hosts.handle(request)


def picture(body: bytes = b"") -> httpx.Response:
    return httpx.Response(200, content=body or photo())


async def sold(
    harness: Harness, hosts: Hosts, *urls: str, kind: str = "basic_clean", accepts: bool = True, **policy: Any
) -> RunId:
    """Steps of the API after the sale; without `accepts` its process dies once `task.json` is stored."""
    harness.out.fetcher._resolve = hosts.resolve
    harness.out.fetcher._transport = _Transport(hosts)
    if policy:
        rules = dataclasses.replace(harness.out.policy, **policy)
        harness.out = dataclasses.replace(harness.out, policy=rules)
        harness.engine = harness.new_engine()
    run = RunId("u1", "t1")
    harness.backend.book.sell(run.user, run.task, 0, kind, "{}", harness.now())
    key = source_key(run)
    document = {"kind": kind, "params": {}, "inputs": urls or (URL,), "ticket": ""}
    await harness.data.put(key.folder + key.name, msgspec.json.encode(document))
    if accepts:
        assert await take_in(key, harness.out) == "accepted"
    return run


async def _fetched(harness: Harness, run: RunId) -> FetchedInputs | None:
    stored = await harness.ledger.read(run, FetchedInputs.at())
    return stored.record if stored else None


async def test_they_are_fetched_and_become_the_results(harness: Harness) -> None:
    hosts = Hosts(picture())
    run = await sold(harness, hosts, f"{URL}/1", f"{URL}/2")
    await harness.drain()
    verdict = await harness.ledger.verdict(run)
    assert verdict is not None
    assert (verdict.status, len(verdict.manifest)) == ("success", 2)
    record = await _fetched(harness, run)
    assert record is not None
    assert [one.key.rpartition("/")[2] for one in record.inputs] == ["input_01.jpg", "input_02.jpg"]
    assert all(one.key.startswith("source/u1/t1/") and not one.url for one in record.inputs)
    assert sorted(hosts.asked) == ["pictures.example/photo/1", "pictures.example/photo/2"]


async def test_a_later_clean_and_a_later_run_fetch_nothing_again(harness: Harness) -> None:
    hosts = Hosts(picture())
    run = await sold(harness, hosts)
    await harness.drain()
    task = await _fetched(harness, run)
    again = RunId(run.user, run.task, 0, 1)
    accepted = await harness.ledger.accepted(run)
    assert accepted is not None
    await harness.ledger.write(again, type(accepted).at(), accepted)
    inputs = await inputs_of(await load_task(again, harness.out), 0, harness.out)
    assert task is not None
    assert inputs == task.inputs
    assert len(hosts.asked) == 1


FAILURES = {
    "not there": (Hosts(httpx.Response(404)), Code.INPUT_UNAVAILABLE),
    "not allowed": (Hosts(httpx.Response(403)), Code.INPUT_UNAVAILABLE),
    "broken": (Hosts(httpx.Response(500)), Code.INPUT_UNAVAILABLE),
    "no answer": (Hosts(httpx.ConnectError("refused")), Code.INPUT_UNAVAILABLE),
    "no name": (Hosts(picture(), addresses=()), Code.INPUT_UNAVAILABLE),
    "no picture": (Hosts(picture(b"<html>" * 20)), Code.INPUT_UNAVAILABLE),
    "a private address": (Hosts(picture(), addresses=("10.0.0.7",)), Code.INPUT_UNAVAILABLE),
    "a metadata address": (Hosts(picture(), addresses=("169.254.169.254",)), Code.INPUT_UNAVAILABLE),
    "one private address of two": (Hosts(picture(), addresses=("93.184.216.34", "::1")), Code.INPUT_UNAVAILABLE),
    "a redirect to a private address": (
        Hosts(httpx.Response(302, headers={"Location": "https://127.0.0.1/a"})),
        Code.INPUT_UNAVAILABLE,
    ),
    "a redirect to plain http": (
        Hosts(httpx.Response(302, headers={"Location": "http://pictures.example/a"})),
        Code.INPUT_UNAVAILABLE,
    ),
    "too long": (
        Hosts(httpx.Response(200, content=photo(), headers={"Content-Length": str(33 << 20)})),
        Code.PICTURE_TOO_LARGE,
    ),
    "a GIF": (Hosts(picture(b"GIF89a" + bytes(60))), Code.FORMAT_GIF),
}


@pytest.mark.parametrize("why", [*FAILURES])
async def test_one_that_cannot_be_had_fails_the_task_with_a_refund(why: str, harness: Harness) -> None:
    hosts, code = FAILURES[why]

    run = await sold(harness, hosts)
    await harness.drain()
    verdict = await harness.ledger.verdict(run)
    assert verdict is not None
    assert (verdict.status, verdict.code) == ("failed", code)
    assert harness.backend.book.totals() == {"charged": 1, "refunded": 1}


async def test_a_host_that_is_away_for_a_moment_fails_nothing(harness: Harness) -> None:
    run = await sold(harness, Hosts(httpx.ConnectError("refused"), httpx.Response(503), picture()))
    await harness.drain()
    verdict = await harness.ledger.verdict(run)
    assert verdict is not None
    assert verdict.status == "success"


async def test_a_name_that_leads_elsewhere_at_the_second_look_is_not_followed(harness: Harness) -> None:
    class Rebinding(Hosts):
        async def resolve(self, host: str, _port: int) -> Sequence[str]:
            self.addresses = ("127.0.0.1",) if self.asked else ("93.184.216.34",)
            return self.addresses

    hosts = Rebinding(httpx.Response(503), picture())
    run = await sold(harness, hosts)
    await harness.drain()
    verdict = await harness.ledger.verdict(run)
    assert verdict is not None
    assert (verdict.status, verdict.code, len(hosts.asked)) == ("failed", Code.INPUT_UNAVAILABLE, 1)


async def test_a_deployment_may_name_the_hosts(harness: Harness) -> None:
    hosts = Hosts(picture())
    run = await sold(harness, hosts, sources=HostRules(frozenset({"ours.example"})))
    await harness.drain()
    verdict = await harness.ledger.verdict(run)
    assert verdict is not None
    assert (verdict.status, verdict.code, hosts.asked) == ("failed", Code.INPUT_UNAVAILABLE, [])


async def test_a_sold_task_whose_process_died_is_accepted_by_the_sweeps_wake(harness: Harness) -> None:
    run = await sold(harness, Hosts(picture()), accepts=False)
    await harness.wake(run, "sweep", since=int(harness.now() * 1000))
    await harness.drain()
    verdict = await harness.ledger.verdict(run)
    assert verdict is not None
    assert verdict.status == "success"
    assert harness.backend.book.totals() == {"charged": 1, "refunded": 0}
