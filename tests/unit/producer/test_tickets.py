"""Taking a task in by its ticket, which names the upload's task and its order."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from messages.codes import Code
from messages.errors import RetryClass
from services.errors import WeakSecret
from tasks.accepting.accept import NotHere, take_in
from telemetry import logs
from telemetry.secrets import Secret
from tests.unit.producer.checks import PHOTO, assert_accepted, assert_nothing_said, assert_refused

if TYPE_CHECKING:
    from tests.unit.producer.conftest import Open


async def test_nothing_of_the_ticket_is_kept_or_sent(harness: Open) -> None:
    async with harness() as here:
        ticket = here.ticket()
        await here.upload(ticket=ticket)
        await take_in(PHOTO, here.out)
        stored = [(await here.records.get(item.key)).body for item in (await here.records.list("")).items]
        assert stored
        assert all(ticket.encode() not in body for body in stored)


async def test_the_demo_may_do_without_tickets(harness: Open) -> None:
    async with harness(ticket_required=False) as here:
        info = await here.upload(ticket="")
        assert await take_in(PHOTO, here.out) == "accepted"
        await assert_accepted(here, info)
        accepted = await here.accepted()
        assert accepted is not None
        assert accepted.ticket_expires == 0


async def test_the_demo_does_not_take_a_forged_ticket_either(harness: Open) -> None:
    async with harness(ticket_required=False) as here:
        await here.upload(ticket="forged")
        assert await take_in(PHOTO, here.out) == "rejected"
        await assert_nothing_said(here)


async def test_the_demo_fails_what_it_cannot_do(harness: Open) -> None:
    async with harness(ticket_required=False) as here:
        await here.upload(ticket="", kind="video_matting")
        assert await take_in(PHOTO, here.out) == "rejected"
        await assert_refused(here, Code.UNKNOWN_KIND)


OTHER_TICKETS: dict[str, tuple[dict[str, Any], Code]] = {
    "another kind": ({"kind": "basic_clean"}, Code.TICKET_INVALID),
    "other parameters": ({"params": {"prompt": "cheaper"}}, Code.TICKET_INVALID),
    "expired": ({"expires": 1_000}, Code.TICKET_EXPIRED),
}

TICKETS_OF_OTHERS: dict[str, dict[str, Any]] = {
    "another task": {"task": "t2"},
    "another user": {"user": "u2"},
    "another step": {"step": 1},
    "another secret": {"secret": Secret("x" * 40)},
}


@pytest.mark.parametrize("name", OTHER_TICKETS)
async def test_a_ticket_for_something_else_sells_nothing(harness: Open, name: str) -> None:
    changes, code = OTHER_TICKETS[name]
    async with harness() as here:
        await here.upload(ticket=here.ticket(**changes))
        assert await take_in(PHOTO, here.out) == "rejected"
        await assert_refused(here, code)


@pytest.mark.parametrize("name", TICKETS_OF_OTHERS)
async def test_a_ticket_that_is_not_of_this_task_says_nothing_of_it(harness: Open, name: str) -> None:
    async with harness() as here:
        await here.upload(ticket=here.ticket(**TICKETS_OF_OTHERS[name]))
        assert await take_in(PHOTO, here.out) == "rejected"
        await assert_nothing_said(here)


@pytest.mark.parametrize("ticket", ["", "forged", "e30.e30."])
@pytest.mark.parametrize("more", [{}, {"kind": "video_matting"}, {"params": "{"}, {"body": b""}])
async def test_without_a_ticket_nothing_is_done(harness: Open, ticket: str, more: dict[str, Any]) -> None:
    async with harness() as here:
        await here.upload(ticket=ticket, **more)
        assert await take_in(PHOTO, here.out) == "rejected"
        await assert_nothing_said(here)


async def test_a_task_that_was_refused_for_want_of_a_ticket_is_accepted_with_one(harness: Open) -> None:
    async with harness() as here:
        await here.upload(ticket="")
        assert await take_in(PHOTO, here.out) == "rejected"
        info = await here.upload()
        assert await take_in(PHOTO, here.out) == "accepted"
        await assert_accepted(here, info)


async def test_a_kind_that_was_sold_and_this_build_does_not_know_waits_for_one_that_does(harness: Open) -> None:
    async with harness() as here:
        await here.upload(kind="video_matting", ticket=here.ticket(kind="video_matting"))
        with pytest.raises(NotHere) as caught:
            await take_in(PHOTO, here.out)
        assert (caught.value.retry, caught.value.code) == (RetryClass.OUTAGE, Code.UNKNOWN_KIND)
        await assert_nothing_said(here)


@pytest.mark.parametrize("params", [{"promt": "x"}, {"prompt": 7}])
async def test_parameters_that_were_sold_and_a_kind_does_not_take_fail_the_task(
    harness: Open, params: dict[str, Any]
) -> None:
    async with harness() as here:
        ticket = here.ticket(params=params)
        await here.upload(params=msgspec.json.encode(params).decode(), ticket=ticket)
        assert await take_in(PHOTO, here.out) == "rejected"
        await assert_refused(here, Code.BAD_PARAMETERS)


async def test_a_ticket_ends_to_the_second(harness: Open) -> None:
    async with harness() as here:
        end = int(here.now) + 10
        here.now = float(end)
        await here.upload(ticket=here.ticket(expires=end))
        assert await take_in(PHOTO, here.out) == "rejected"
        await assert_refused(here, Code.TICKET_EXPIRED)


async def test_a_ticket_counts_as_it_was_when_the_upload_came(harness: Open) -> None:
    async with harness() as here:
        end = int(here.now) + 10
        await here.upload(ticket=here.ticket(expires=end))
        here.now = end + 7200.0
        assert await take_in(PHOTO, here.out) == "accepted"


async def test_a_secret_too_short_to_sign_with_fails_no_task(harness: Open) -> None:
    async with harness(ticket_secret=Secret("too-short-secret")) as here:
        await here.upload()
        with pytest.raises(WeakSecret):
            await take_in(PHOTO, here.out)
        assert await here.verdict() is None


@pytest.mark.parametrize(("changes", "named"), [({"kind": "basic_clean"}, "kind"), ({"expires": 1_000}, "exp")])
async def test_the_line_in_the_log_names_the_claim(harness: Open, changes: dict[str, Any], named: str) -> None:
    log = io.StringIO()
    undo = logs.setup(log, "INFO", "test")
    try:
        async with harness() as here:
            await here.upload(ticket=here.ticket(**changes))
            assert await take_in(PHOTO, here.out) == "rejected"
    finally:
        undo()
    (line,) = (line for line in map(json.loads, log.getvalue().splitlines()) if line["event"] == "ticket.rejected")
    assert f"claim {named}: " in json.dumps(line)
