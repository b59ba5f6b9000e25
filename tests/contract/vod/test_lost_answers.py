"""A create whose answer is lost is found by its SessionId, or sent once more: never a second job, whatever happens."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.errors import CreateUnknown, VendorFull, VendorRefused
from tests.contract.vod.calls import IDENTITY, create, failed, opened, order

LOST: dict[str, dict[str, Any]] = {
    "cut": {"kind": "cut"},
    "a 200 that is no JSON": {"kind": "not_json"},
    "a 500": {"kind": "error", "status": 500},
    "a 504": {"kind": "error", "status": 504},
    "an internal error": {"code": "InternalError"},
    "a failure without a reason": {"code": "FailedOperation"},
    "a code of no table": {"code": "Curious.Code"},
}


@pytest.mark.parametrize("name", LOST)
async def test_an_answer_lost_after_acceptance_is_found(name: str, standin: Any, client_for: Any) -> None:
    standin.arm("create", accepted=True, **LOST[name])
    async with opened(client_for()) as client:
        made = await create(client)
        assert made.id == await client.find(IDENTITY)
    assert (standin.jobs, standin.core.stats()["creates"]) == (1, 1)


@pytest.mark.parametrize("name", LOST)
async def test_a_create_lost_before_acceptance_is_sent_once_more(name: str, standin: Any, client_for: Any) -> None:
    standin.arm("create", **LOST[name])
    async with opened(client_for()) as client:
        made = await create(client)
        assert made.id == await client.find(IDENTITY)
    assert (standin.jobs, standin.core.stats()["creates"]) == (1, 2)


async def test_a_list_that_lags_is_asked_again_after_the_duplicate(standin: Any, client_for: Any) -> None:
    standin.arm("create", "cut", accepted=True)
    standin.arm("list", "lags")
    async with opened(client_for()) as client:
        await create(client)
    stats = standin.core.stats()
    assert (standin.jobs, stats["creates"], stats["duplicates"], stats["lists"]) == (1, 2, 1, 2)


async def test_a_list_that_lags_longer_leaves_the_call_open_and_finds_it_later(standin: Any, client_for: Any) -> None:
    standin.arm("create", "cut", accepted=True)
    standin.arm("list", "lags", times=3)
    async with opened(client_for()) as client:
        unknown = await failed(client, CreateUnknown)
        assert "InvalidParameterValue.SessionId" in str(unknown)
        assert await client.find(IDENTITY) == ""
        assert await client.find(IDENTITY)
    assert standin.jobs == 1


async def test_a_create_that_arrives_twice_is_one_job(standin: Any, client_for: Any) -> None:
    standin.arm("create", "repeated")
    async with opened(client_for()) as client:
        assert await create(client)
    stats = standin.core.stats()
    assert (standin.jobs, stats["creates"], stats["duplicates"]) == (1, 1, 1)


async def test_no_answer_within_half_of_the_limit_is_followed_up(standin: Any, client_for: Any) -> None:
    standin.arm("create", "hang", accepted=True)
    standin.skip_limits()
    async with opened(client_for()) as client:
        assert await create(client)
    assert (standin.jobs, standin.core.stats()["creates"]) == (1, 1)


async def test_a_process_that_froze_sends_nothing_more(standin: Any, client_for: Any) -> None:
    standin.arm("create", "cut")
    client = client_for()
    found = client._found

    async def frozen(*args: Any) -> Any:
        standin.clock.now += 3600.0
        return await found(*args)

    client._found = frozen
    async with opened(client):
        await failed(client, CreateUnknown)
    assert (standin.jobs, standin.core.stats()["creates"]) == (0, 1)


async def test_what_refuses_the_second_create_proves_nothing_about_the_first(standin: Any, client_for: Any) -> None:
    for code in ("RequestLimitExceeded", "InvalidParameter", "AuthFailure.SignatureFailure"):
        standin.core.faults.clear()
        standin.arm("create", "cut")
        standin.arm("create", code=code)
        async with opened(client_for()) as client:
            assert code in str(await failed(client, CreateUnknown))
    assert standin.jobs == 0


async def test_a_second_create_that_is_lost_too_leaves_the_call_open(standin: Any, client_for: Any) -> None:
    standin.arm("create", "cut", times=2)
    async with opened(client_for()) as client:
        await failed(client, CreateUnknown)
    assert (standin.jobs, standin.core.stats()["creates"]) == (0, 2)


async def test_a_list_that_is_away_does_not_stop_the_second_create(standin: Any, client_for: Any) -> None:
    standin.arm("create", "cut")
    standin.arm("list", "error", status=503)
    async with opened(client_for()) as client:
        assert await create(client)
    assert standin.jobs == 1


async def test_a_plain_no_is_not_followed_up(standin: Any, client_for: Any) -> None:
    for code, error in (("RequestLimitExceeded", VendorFull), ("InvalidParameterValue", VendorRefused)):
        standin.arm("create", code=code)
        async with opened(client_for()) as client:
            await failed(client, error)
    stats = standin.core.stats()
    assert (stats["creates"], stats["lists"]) == (2, 0)


async def test_nothing_was_sent_without_a_connection(client_for: Any, closed_port: int) -> None:
    async with opened(client_for(f"http://127.0.0.1:{closed_port}")) as client:
        assert "nothing was sent" in str(await failed(client, VendorFull))


async def test_without_an_identity_nothing_is_found_or_sent_again(standin: Any, client_for: Any) -> None:
    standin.arm("create", "cut", accepted=True)
    async with opened(client_for()) as client:
        await failed(client, CreateUnknown, order(identity=""))
    stats = standin.core.stats()
    assert (stats["creates"], stats["lists"], stats["jobs"][0]["session"]) == (1, 0, "")


async def test_a_job_of_many_is_found_on_a_later_page(standin: Any, client_for: Any) -> None:
    async with opened(client_for(credentials=_many(standin))) as client:
        first = await create(client)
        for number in range(250):
            await create(client, order(identity=f"{number:050d}"))
        lists = standin.core.stats()["lists"]
        assert await client.find(IDENTITY) == first.id
    assert standin.core.stats()["lists"] - lists == 3


async def test_other_calls_are_not_found(standin: Any, client_for: Any) -> None:
    async with opened(client_for()) as client:
        await create(client)
        await create(client, order(identity=""))
        assert await client.find("f" * 50) == ""
        assert await client.find("") == ""


async def test_a_create_may_be_cancelled_while_it_waits(standin: Any, client_for: Any) -> None:
    standin.arm("create", "cut", accepted=True)
    waits = asyncio.Event()
    client = client_for()

    async def wait(*_: Any) -> None:
        waits.set()
        await asyncio.Event().wait()

    client._found = wait
    async with opened(client):
        made = asyncio.create_task(create(client))
        await waits.wait()
        made.cancel()
        with pytest.raises(asyncio.CancelledError):
            await made
    assert standin.core.stats()["creates"] == 1


def _many(standin: Any) -> Any:
    """Credentials of an account that may have many jobs at once."""
    import msgspec

    from tests.contract.vod.conftest import KEYS

    name = KEYS.secret_id.reveal()
    standin.core.accounts[name] = msgspec.structs.replace(standin.core.accounts[name], concurrent=1000)
    return KEYS
