"""Taking a task in: a sold task is accepted once, and everything else is refused with a code."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from consumers.stages.wake import wake
from messages.bodies import Stage, Wake
from messages.codes import Code
from messages.errors import ScfWorkersError
from messages.keys import InputKey
from services.errors import Changed, Denied, ObjectsDown
from tasks.accepting.accept import take_in
from tasks.accepting.inputs import MAX_PICTURE_BYTES, find_upload
from tasks.ledger.ledger import Ledger
from tasks.ledger.records import Verdict
from tests.support.patience import PATIENCE_S
from tests.unit.producer.checks import PHOTO, RUN, TASK_FILE, assert_accepted, assert_nothing_said, assert_refused

if TYPE_CHECKING:
    from tests.unit.producer.conftest import Open

CLEAN_PARAMS = {"format": "webp", "quality": 80}


# ---- what was sold ---------------------------------------------------------------------------------------------------


async def test_a_picture_with_its_ticket_is_accepted(harness: Open) -> None:
    async with harness() as here:
        info = await here.upload()
        assert await take_in(PHOTO, here.out) == "accepted"
        await assert_accepted(here, info)
        accepted = await here.accepted()
        assert accepted is not None
        assert accepted.ticket_expires == int(here.now) + 3600
        entries = (await here.records.list("index/user/u1/")).items
        assert [entry.key.endswith("/t1") for entry in entries] == [True]


async def test_parameters_that_were_sold(harness: Open) -> None:
    async with harness() as here:
        params = msgspec.json.encode(CLEAN_PARAMS).decode()
        ticket = here.ticket(kind="basic_clean", params=CLEAN_PARAMS)
        info = await here.upload(kind="basic_clean", params=params, ticket=ticket)
        assert await take_in(PHOTO, here.out) == "accepted"
        await assert_accepted(here, info, kind="basic_clean", seconds=600)


async def test_several_inputs_named_by_task_json(harness: Open) -> None:
    async with harness() as here:
        pictures = [await here.data.put(f"input/u1/t1/{name}", name.encode()) for name in ("b.png", "a.JPG", "c.webp")]
        ticket = here.ticket(kind="basic_clean", params=CLEAN_PARAMS, inputs=3)
        document = {"kind": "basic_clean", "params": CLEAN_PARAMS, "ticket": ticket}
        await here.task_file({**document, "inputs": ["b.png", "a.JPG", "c.webp"]})
        assert await take_in(TASK_FILE, here.out) == "accepted"
        await assert_accepted(here, *pictures, kind="basic_clean", seconds=600)


# ---- impossible tasks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("upload", "code"),
    [
        ({"body": b""}, Code.EMPTY_FILE),
        ({"params": "{"}, Code.BAD_PARAMETERS),
        ({"params": "[]"}, Code.BAD_PARAMETERS),
        ({"params": '"x"'}, Code.BAD_PARAMETERS),
        ({"params": '{"promt":"x"}'}, Code.TICKET_INVALID),
        ({"params": '{"prompt":7}'}, Code.TICKET_INVALID),
        ({"params": '{"prompt":' + "[" * 1500}, Code.BAD_PARAMETERS),
        ({"params": '{"prompt":1e999}'}, Code.BAD_PARAMETERS),
        ({"params": '{"prompt":"\\ud800"}'}, Code.BAD_PARAMETERS),
        ({"params": '{"prompt":"not what the ticket sold"}'}, Code.TICKET_INVALID),
    ],
)
async def test_an_upload_that_cannot_be_done_is_refused_with_a_code(
    harness: Open, upload: dict[str, Any], code: Code
) -> None:
    async with harness() as here:
        await here.upload(**upload)
        assert await take_in(PHOTO, here.out) == "rejected"
        await assert_refused(here, code)


async def test_a_picture_beyond_the_picture_services_limit(harness: Open) -> None:
    async with harness() as here:
        fits = await here.upload(body=bytes(MAX_PICTURE_BYTES))
        assert await take_in(PHOTO, here.out) == "accepted"
        await assert_accepted(here, fits)
    async with harness() as here:
        await here.upload(body=bytes(MAX_PICTURE_BYTES + 1))
        assert await take_in(PHOTO, here.out) == "rejected"
        await assert_refused(here, Code.PICTURE_TOO_LARGE)


def file(**changes: Any) -> dict[str, Any]:
    return {"kind": "basic_clean", "params": {}, "inputs": ["a.jpg"], "ticket": "sold", **changes}


UNREADABLE_FILES: dict[str, Any] = {
    "empty": b"",
    "no JSON": b"\xff\xfe",
    "a surrogate": b'{"kind":"\xed\xa0\x80"}',
    "cut": b'{"kind":"basic_clean"',
    "very deep": b'{"params":' + b'{"a":' * 9_000,
    "too large": file(ticket="x" * 70_000),
    "a list": [],
    "no ticket": file(ticket=""),
    "a ticket that is a number": file(ticket=7),
}


@pytest.mark.parametrize("name", UNREADABLE_FILES)
async def test_a_task_file_that_holds_no_ticket_says_nothing_of_the_task(harness: Open, name: str) -> None:
    async with harness() as here:
        await here.data.put("input/u1/t1/a.jpg", b"a")
        await here.task_file(UNREADABLE_FILES[name])
        assert await take_in(TASK_FILE, here.out) == "rejected"
        await assert_nothing_said(here)


BAD_FILES: dict[str, tuple[Any, Code]] = {
    "unknown fields": (file(webhook="http://x"), Code.BAD_PARAMETERS),
    "no kind": ({"inputs": ["a.jpg"], "ticket": "sold"}, Code.BAD_PARAMETERS),
    "no inputs": (file(inputs=[]), Code.BAD_PARAMETERS),
    "inputs of a wrong type": (file(inputs=[1]), Code.BAD_PARAMETERS),
    "too many inputs": (file(inputs=["a.jpg"] * 13), Code.TICKET_INVALID),
    "another folder": (file(inputs=["../t2/a.jpg"]), Code.BAD_PARAMETERS),
    "a path": (file(inputs=["/a.jpg"]), Code.BAD_PARAMETERS),
    "a folder": (file(inputs=["x/a.jpg"]), Code.BAD_PARAMETERS),
    "no picture": (file(inputs=["task.json"]), Code.BAD_PARAMETERS),
    "only an extension": (file(inputs=[".jpg"]), Code.BAD_PARAMETERS),
    "a control character": (file(inputs=["a\n.jpg"]), Code.INVALID_ID),
    "a name without end": (file(inputs=["a" * 900 + ".jpg"]), Code.INVALID_ID),
    "an input that is not there": (file(inputs=["a.jpg", "b.jpg"]), Code.NOT_UPLOADED),
    "an empty input": (file(inputs=["a.jpg", "empty.png"]), Code.EMPTY_FILE),
}


@pytest.mark.parametrize("name", BAD_FILES)
async def test_a_task_file_that_cannot_be_done_is_refused_with_a_code(harness: Open, name: str) -> None:
    document, code = BAD_FILES[name]
    async with harness() as here:
        await here.data.put("input/u1/t1/a.jpg", b"a")
        await here.data.put("input/u1/t1/empty.png", b"")
        await here.data.put("input/u1/t2/a.jpg", b"of another task")
        if isinstance(document, dict) and document.get("ticket") == "sold":
            document = {**document, "ticket": here.ticket(kind="basic_clean", inputs=2)}
        await here.task_file(document)
        assert await take_in(TASK_FILE, here.out) == "rejected"
        await assert_refused(here, code)


@pytest.mark.parametrize("required", [False, True])
async def test_an_upload_that_is_gone_says_nothing_of_the_task(harness: Open, *, required: bool) -> None:
    async with harness(ticket_required=required) as here:
        assert await take_in(PHOTO, here.out) == "rejected"
        await assert_nothing_said(here)


# ---- again, beside each other, and while things break ----------------------------------------------------------------


async def test_the_same_upload_again_publishes_the_first_message_again(harness: Open) -> None:
    async with harness() as here:
        await here.upload()
        assert await take_in(PHOTO, here.out) == "accepted"
        accepted = await here.accepted()
        here.now += 60
        assert await take_in(PHOTO, here.out) == "again"
        assert await here.accepted() == accepted
        first, again = await here.sent()
        assert first.header.deadline_at == again.header.deadline_at
        assert first.header.traceparent == again.header.traceparent
        assert again.header.seq == 0
        assert len((await here.records.list("index/")).items) == 3


@pytest.mark.parametrize("status", ["success", "failed", "cancelled"])
async def test_a_run_that_has_ended_is_left_alone(harness: Open, status: Any) -> None:
    async with harness() as here:
        await here.upload()
        await take_in(PHOTO, here.out)
        await here.sent()
        await here.out.ledger.write(RUN, Verdict.at(), Verdict(status))
        assert await take_in(PHOTO, here.out) == "ended"
        assert await here.sent() == []


async def test_a_task_cancelled_before_its_upload_is_not_begun(harness: Open) -> None:
    async with harness() as here:
        await here.out.ledger.write(RUN, Verdict.at(), Verdict("cancelled", Code.CANCELLED))
        await here.upload()
        assert await take_in(PHOTO, here.out) == "ended"
        assert await here.accepted() is None
        assert all(message.header.stage == Stage.NOTIFY for message in await here.sent())


async def test_a_second_upload_does_not_swap_the_picture_of_a_task(harness: Open) -> None:
    async with harness() as here:
        first = await here.upload(body=b"first")
        assert await take_in(PHOTO, here.out) == "accepted"
        await here.upload(body=b"second", ticket="forged")
        assert await take_in(PHOTO, here.out) == "again"
        accepted = await here.accepted()
        assert accepted is not None
        assert [ref.etag for ref in accepted.inputs] == [first.etag]
        assert await here.verdict() is None


async def test_many_deliveries_of_one_upload_make_one_task(harness: Open) -> None:
    async with harness() as here:
        await here.upload()
        async with asyncio.timeout(PATIENCE_S):
            found = await asyncio.gather(*(take_in(PHOTO, here.out) for _ in range(10)))
        assert set(found) <= {"accepted", "again"}
        messages = await here.sent()
        assert len(messages) == 10
        assert len({(message.header.traceparent, message.header.deadline_at) for message in messages}) == 1


async def test_two_uploads_beside_each_other_make_one_task(harness: Open) -> None:
    async with harness() as here:
        await here.upload("input/u1/t1/original.jpg", b"one")
        await here.upload("input/u1/t1/original.png", b"two")
        keys = [PHOTO, InputKey("u1", "t1", "original.png")]
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(take_in(key, here.out) for key in keys))
        accepted = await here.accepted()
        assert accepted is not None
        assert len(accepted.inputs) == 1
        assert len({message.header.traceparent for message in await here.sent()}) == 1


async def test_who_would_refuse_looks_again_whether_another_has_accepted(harness: Open) -> None:
    async with harness() as here:
        await here.upload()
        accepted_by_another = False

        async def meanwhile(operation: str, key: str, *, done: bool) -> None:
            """A second delivery of the event is quicker; then another file takes the picture's place."""
            nonlocal accepted_by_another
            if operation == "head" and not done and not accepted_by_another:
                accepted_by_another = True
                assert await take_in(PHOTO, here.out) == "accepted"
                await here.upload(body=b"")

        here.break_("data", meanwhile)
        assert await take_in(PHOTO, here.out) == "accepted"
        assert await here.verdict() is None
        assert [message.header.stage for message in await here.sent()] == [Stage.CLEAN, Stage.CLEAN]


async def test_a_task_file_replaced_while_it_is_read_is_no_fault_of_the_task(harness: Open) -> None:
    async with harness() as here:
        await here.data.put("input/u1/t1/a.jpg", b"a")
        await here.task_file(file(ticket="typo"))

        async def replaced(operation: str, key: str, *, done: bool) -> None:
            if operation == "head" and done and key.endswith("task.json"):
                here.mend()
                await here.task_file(file(ticket=here.ticket(kind="basic_clean")))

        here.break_("data", replaced)
        with pytest.raises(Changed):
            await take_in(TASK_FILE, here.out)
        assert await here.verdict() is None
        # The platform calls again, and what is there now counts.
        assert await take_in(TASK_FILE, here.out) == "accepted"


@pytest.mark.parametrize("operation", ["head", "get"])
@pytest.mark.parametrize("error", [ObjectsDown, Denied])
async def test_a_store_that_is_away_or_refuses_us_fails_no_task(
    harness: Open, operation: str, error: type[ScfWorkersError]
) -> None:
    async with harness() as here:
        await here.data.put("input/u1/t1/a.jpg", b"a")
        await here.task_file(file(ticket=here.ticket(kind="basic_clean")))

        async def away(asked: str, key: str, *, done: bool) -> None:
            if asked == operation:
                raise error(key)

        here.break_("data", away)
        with pytest.raises(error):
            await take_in(TASK_FILE, here.out)
        assert await here.verdict() is None
        here.mend()
        assert await take_in(TASK_FILE, here.out) == "accepted"


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("done", [False, True])
async def test_wherever_the_ledger_fails_the_next_call_brings_it_to_the_same_end(
    harness: Open, *, refused: bool, done: bool
) -> None:
    """Cut each operation of the ledger in turn, before or behind its effect, then call again."""
    for turn in range(20):
        async with harness() as here:
            await here.upload(ticket=here.ticket(expires=1_000) if refused else None)
            count = 0

            async def cut(operation: str, key: str, *, done: bool, when: bool = done, turn: int = turn) -> None:
                nonlocal count
                count += done is when
                if done is when and count == turn + 1:
                    raise ObjectsDown(f"{operation} {key}")

            here.break_("records", cut)
            with suppress(ObjectsDown):
                await take_in(PHOTO, here.out)
            here.mend()
            await take_in(PHOTO, here.out)
            messages = await here.sent()
            if refused:
                assert await here.verdict() == Verdict("failed", Code.TICKET_EXPIRED)
                assert messages
                assert {message.header.stage for message in messages} == {Stage.NOTIFY}
            else:
                assert await here.accepted() is not None
                assert await here.verdict() is None
                assert messages
                assert {message.header.stage for message in messages} - {Stage.WAKE} == {Stage.CLEAN}
                assert len((await here.records.list("index/")).items) == 3
        if count <= turn:
            assert turn >= 1
            return
    pytest.fail("the ledger was asked more often than this test thought")


async def test_an_index_that_fails_costs_the_task_nothing_and_is_written_later(harness: Open) -> None:
    async with harness() as here:
        await here.upload()

        async def cut(operation: str, key: str, *, done: bool) -> None:
            if key.startswith("index/"):
                raise ObjectsDown(f"{operation} {key}")

        here.break_("records", cut)
        assert await take_in(PHOTO, here.out) == "accepted"
        first, later = await here.sent()
        assert (first.header.stage, later.header.stage) == (Stage.CLEAN, Stage.WAKE)
        assert isinstance(later.body, Wake)
        with pytest.raises(ObjectsDown):
            await wake(later.header, later.body, here.out)
        here.mend()
        await wake(later.header, later.body, here.out)
        assert len((await here.records.list("index/")).items) == 3


async def test_a_refusal_that_was_not_published_is_published_by_the_next_call(harness: Open) -> None:
    async with harness() as here:
        await here.upload(ticket=here.ticket(expires=1_000))
        await here.out.ledger.write(RUN, Verdict.at(), Verdict("failed", Code.TICKET_EXPIRED))
        assert await take_in(PHOTO, here.out) == "ended"
        assert [message.header.stage for message in await here.sent()] == [Stage.NOTIFY]


async def test_times_are_the_stores_even_where_this_machines_clock_is_wrong(harness: Open) -> None:
    async with harness() as here:
        await here.upload()
        wrong = Ledger(here.records, clock=lambda: here.now + 7200, nonce=lambda: "wrong-clock")
        object.__setattr__(here.out, "ledger", wrong)
        # The ticket is valid for an hour: by this machine's clock it has expired.
        assert await take_in(PHOTO, here.out) == "accepted"
        accepted = await here.accepted()
        assert accepted is not None
        assert (accepted.created, accepted.deadline) == (here.now, here.now + 1800)


# ---- an upload that nobody told us of --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["task.json", "original.jpg", "original.JPEG", "original.webp", "original.HEIC"])
async def test_an_upload_is_found_without_an_event(harness: Open, name: str) -> None:
    async with harness() as here:
        assert await find_upload("u1", "t1", here.out.objects) is None
        await here.data.put(f"input/u1/t1/{name}", b"x")
        await here.data.put("input/u1/t2/original.jpg", b"x")
        assert await find_upload("u1", "t1", here.out.objects) == InputKey("u1", "t1", name)


async def test_a_task_file_goes_before_a_picture(harness: Open) -> None:
    async with harness() as here:
        await here.data.put("input/u1/t1/original.jpg", b"x")
        await here.data.put("input/u1/t1/task.json", b"x")
        assert await find_upload("u1", "t1", here.out.objects) == TASK_FILE


async def test_a_picture_that_can_be_read_goes_before_one_that_cannot(harness: Open) -> None:
    async with harness() as here:
        for name in ("original.avif", "original.exe.zip", "original.gif", "original.png", "other.jpg"):
            await here.data.put(f"input/u1/t1/{name}", b"x")
        assert await find_upload("u1", "t1", here.out.objects) == InputKey("u1", "t1", "original.png")


async def test_a_store_that_is_away_is_not_taken_for_no_upload(harness: Open) -> None:
    async with harness() as here:

        async def away(operation: str, key: str, *, done: bool) -> None:
            raise ObjectsDown(key)

        here.break_("data", away)
        with pytest.raises(ObjectsDown):
            await find_upload("u1", "t1", here.out.objects)
