"""Sales: the client against the stand-in, whose account charges a purchase once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import pytest

from sandbox.backend import create_app
from sandbox.backend.quota_account import Purchase as Sold
from sandbox.backend.quota_account import QuotaAccount
from services.backend import Backend
from services.errors import BackendDown, BadQuestion, NotSold, TicketRefused
from services.sales import Purchase
from tasks.accepting import tickets
from telemetry.secrets import Secret

SECRET = "callback-secret-of-the-tests-of-sales"
TICKETS = Secret("ticket-secret-of-the-tests-of-sales-0123")
NOW = 1_763_888_400.0
PURCHASE = Purchase(
    user="u1", kind="basic_clean", params={"quality": 80}, inputs=3, idempotency_key="k", request_digest="d"
)

Answer = Callable[[httpx.Request], httpx.Response]


@asynccontextmanager
async def backend_of(answer: Answer | None = None, secret: str = SECRET) -> AsyncGenerator[Backend]:
    app = create_app(secret=SECRET, ticket_secret=TICKETS.reveal(), clock=lambda: NOW)
    transport = httpx.MockTransport(answer) if answer else httpx.ASGITransport(app)
    backend = Backend(base_url="http://backend", secret=Secret(secret), clock=lambda: NOW, transport=transport)
    try:
        yield backend
    finally:
        await backend.close()


async def test_a_sale_brings_a_task_and_a_ticket_for_exactly_that() -> None:
    async with backend_of() as backend:
        sold = await backend.sell(PURCHASE)
    ticket = tickets.verify(sold.ticket, TICKETS, user="u1", task=sold.task_id, step=0)
    tickets.check_sold(ticket, now=NOW, kind="basic_clean", params={"quality": 80}, inputs=3)
    for other in ({"kind": "model_pose12"}, {"params": {"quality": 81}}, {"inputs": 4}):
        order = {"kind": "basic_clean", "params": {"quality": 80}, "inputs": 3, **other}
        with pytest.raises(TicketRefused):
            tickets.check_sold(ticket, now=NOW, **order)


async def test_the_same_purchase_is_the_same_task() -> None:
    async with backend_of() as backend:
        first, second = await backend.sell(PURCHASE), await backend.sell(PURCHASE)
        assert first.task_id == second.task_id
        other = await backend.sell(msgspec.structs.replace(PURCHASE, user="u2"))
        assert other.task_id != first.task_id
        with pytest.raises(NotSold) as refused:
            await backend.sell(msgspec.structs.replace(PURCHASE, request_digest="e"))
        assert refused.value.status == 422


async def test_a_purchase_that_is_not_ours_is_refused() -> None:
    async with backend_of(secret="another-secret-of-callbacks") as backend:
        with pytest.raises(BackendDown) as down:
            await backend.sell(PURCHASE)
        assert down.value.refused


@pytest.mark.parametrize("status", [402, 409, 422, 429])
async def test_a_refusal_keeps_its_status_and_its_wait(status: int) -> None:
    async with backend_of(lambda _: httpx.Response(status, headers={"Retry-After": "9"})) as backend:
        with pytest.raises(NotSold) as refused:
            await backend.sell(PURCHASE)
        assert (refused.value.status, refused.value.retry_after) == (status, 9)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(500), BackendDown),
        (httpx.Response(404), BackendDown),
        (httpx.Response(301), BackendDown),
        (httpx.Response(400), BadQuestion),
        (httpx.Response(201, content=b"<html>"), BackendDown),
        (httpx.Response(201, json={"task_id": "t"}), BackendDown),
        (httpx.Response(201, json={"task_id": "../t", "ticket": "x"}), BackendDown),
    ],
)
async def test_an_answer_that_sells_nothing(answer: httpx.Response, error: type[Exception]) -> None:
    async with backend_of(lambda _: answer) as backend:
        with pytest.raises(error):
            await backend.sell(PURCHASE)


def _sold(key: str, digest: str = "d", user: str = "u1") -> Sold:
    return Sold(user=user, key=key, digest=digest, kind="basic_clean", params="{}")


def test_the_account_charges_a_purchase_once_and_only_within_the_quota() -> None:
    account = QuotaAccount(":memory:")
    account.limit("u1", 2)
    assert account.sell_once(_sold("k1"), "t1", NOW) == ("sold", "t1")
    assert account.sell_once(_sold("k1"), "t9", NOW) == ("again", "t1")
    assert account.sell_once(_sold("k1", "e"), "t9", NOW) == ("other", "")
    assert account.sell_once(_sold("k2"), "t2", NOW) == ("sold", "t2")
    assert account.sell_once(_sold("k3"), "t3", NOW) == ("no_quota", "")
    assert account.sell_once(_sold("k3", user="u2"), "t4", NOW) == ("sold", "t4")
    assert account.totals() == {"charged": 3, "refunded": 0}
    assert account.cancel("t1") == "cancelled"
    assert account.sell_once(_sold("k3"), "t5", NOW) == ("sold", "t5")
    account.close()


async def test_it_remembers_a_purchase_over_a_restart(tmp_path: Path) -> None:
    def sell_in_a_life_of_its_own(task: str) -> tuple[str, str]:
        account = QuotaAccount(str(tmp_path / "account.sqlite3"))
        try:
            return account.sell_once(_sold("k"), task, NOW)
        finally:
            account.close()

    assert await asyncio.to_thread(sell_in_a_life_of_its_own, "t1") == ("sold", "t1")
    assert await asyncio.to_thread(sell_in_a_life_of_its_own, "t2") == ("again", "t1")
