"""Bad orders: kinds, parameters, tickets and task files that differ from the sale or are malformed."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messages.codes import Code
from tasks.accepting.accept import NotHere
from telemetry.secrets import Secret
from tests.bad_input import pictures
from tests.bad_input.harness import SECRET, TicketHarness
from tests.engine.virtual import VirtualLoop

if TYPE_CHECKING:
    from messages.keys import RunId

KINDS: Final = ("basic_clean", "model_pose12")

# Each is text in the metadata; the ticket sells none of them.
BAD_PARAMS: Final[Mapping[str, str]] = {
    "no JSON": "quality=85",
    "cut JSON": '{"format":"jpg"',
    "two documents": "{}{}",
    "a comment": "{}//x",
    "an array": "[]",
    "a text": '"jpg"',
    "a number": "85",
    "null": "null",
    "a name nobody knows": '{"formatt":"jpg"}',
    "a name of another case": '{"Format":"jpg"}',
    "a prototype": '{"__proto__":{}}',
    "a wrong type": '{"format":1,"prompt":1}',
    "a list for a text": '{"format":["jpg"],"prompt":["x"]}',
    "null for a text": '{"format":null,"prompt":null}',
    "nested 50 deep": '{"prompt":' + '{"a":' * 50 + "1" + "}" * 51,
    "nested 100,000 deep": '{"prompt":' + "[" * 100_000,
    "100 KB": json.dumps({"prompt": "x" * 100_000, "format": "x"}),
    "very many names": json.dumps({f"name{n}": n for n in range(5000)}),
    "NUL": '{"prompt":"\0"}',
    "only NUL": "\0",
    "half a surrogate pair": '{"prompt":"\\ud800","format":"\\ud800"}',
    "bytes that are no text": '{"prompt":"\udcff"}',
    "Chinese names": '{"提示":"你好"}',
    "not a number": '{"prompt":NaN}',
    "infinity": '{"prompt":1e999}',
    "an integer without end": '{"prompt":' + "9" * 5000 + "}",
    "the same name, and a wrong one": '{"prompt":"a","prompt":1,"format":1}',
}

OUT_OF_RANGE: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    "quality 0": ("basic_clean", {"quality": 0}),
    "quality 101": ("basic_clean", {"quality": 101}),
    "quality as text": ("basic_clean", {"quality": "85"}),
    "quality and a half": ("basic_clean", {"quality": 85.5}),
    "quality true": ("basic_clean", {"quality": True}),
    "quality beyond 64 bits": ("basic_clean", {"quality": 2**70}),
    "quality below 64 bits": ("basic_clean", {"quality": -(2**70)}),
    "a side too small": ("basic_clean", {"max_side": 63}),
    "a side too large": ("basic_clean", {"max_side": 10_001}),
    "a format nobody makes": ("basic_clean", {"format": "tiff"}),
    "a format with a rule in it": ("basic_clean", {"format": "jpg/quality/1"}),
    "a background nobody cuts": ("basic_clean", {"background": "dog"}),
    "a prompt too long": ("model_pose12", {"prompt": "长" * 501}),
    "parameters of another kind": ("model_pose12", {"quality": 85}),
}


async def ordered(
    harness: TicketHarness, *, kind: str = "basic_clean", params: str | None = None, ticket: str | None = None
) -> RunId:
    """Upload a sound picture with this metadata, without empty values, and work until no message is left."""
    run = harness.sell()
    meta = {"kind": kind, "params": params or "", "ticket": harness.ticket(run, kind) if ticket is None else ticket}
    key = await harness.put(
        run, "original.jpg", pictures.jpeg(), {name: value for name, value in meta.items() if value}
    )
    assert await harness.deliver(key) == {"rejected": 1}
    return run


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", BAD_PARAMS)
async def test_parameters_that_are_none_fail_the_task(harness: TicketHarness, name: str, kind: str) -> None:
    run = await ordered(harness, kind=kind, params=BAD_PARAMS[name])
    await harness.refused(run, Code.BAD_PARAMETERS, Code.TICKET_INVALID)


@pytest.mark.parametrize("name", OUT_OF_RANGE)
async def test_parameters_out_of_range_fail_the_task_though_they_were_sold(harness: TicketHarness, name: str) -> None:
    kind, params = OUT_OF_RANGE[name]
    run = harness.sell(kind)
    meta = {"kind": kind, "params": json.dumps(params), "ticket": harness.ticket(run, kind, params)}
    await harness.deliver(await harness.put(run, "original.png", pictures.jpeg(), meta))
    await harness.refused(run, Code.BAD_PARAMETERS)


async def test_parameters_that_do_not_go_together_fail_the_task_though_they_were_sold(harness: TicketHarness) -> None:
    run = await harness.submit(pictures.jpeg(), params={"background": "goods", "format": "jpg"})
    await harness.refused(run, Code.BAD_PARAMETERS)


@pytest.mark.parametrize("prompt", ["穿红色连衣裙的模特，站在海边 👗", "a\u0000b", "\u202edesrever", '"}]', "x" * 500])
async def test_a_prompt_may_hold_any_text(harness: TicketHarness, prompt: str) -> None:
    run = await harness.submit(pictures.jpeg(), kind="model_pose12", params={"prompt": prompt})
    await harness.promise(run, "success")
    assert (await harness.records(run))["accepted"]["params"] == {"prompt": prompt}


@pytest.mark.parametrize("spell", [json.dumps, lambda params: quote(json.dumps(params, ensure_ascii=False))])
async def test_parameters_may_be_escaped_or_percent_encoded(
    harness: TicketHarness, spell: Callable[[Any], str]
) -> None:
    params = {"prompt": "红色连衣裙, 100%"}
    run = harness.sell("model_pose12", params)
    meta = {"kind": "model_pose12", "params": spell(params), "ticket": harness.ticket(run, "model_pose12", params)}
    assert all(value.isascii() for value in meta.values())
    await harness.deliver(await harness.put(run, "original.jpg", pictures.jpeg(), meta))
    await harness.promise(run, "success")
    assert (await harness.records(run))["accepted"]["params"] == params


STRANGE_KINDS: Final = (
    *("", " ", "video_matting", "basic_clean ", "BASIC_CLEAN", "../basic_clean", "k" * 300, "类型", "a\0b", "{}"),
)


@pytest.mark.parametrize("kind", STRANGE_KINDS)
async def test_a_kind_that_was_sold_and_is_not_known_here_fails_once_no_build_has_taken_it(
    harness: TicketHarness, kind: str
) -> None:
    run = harness.sell()
    meta = {"kind": kind, "ticket": harness.ticket(run, kind)}
    key = await harness.put(run, "original.jpg", pictures.jpeg(), meta)
    with pytest.raises(NotHere):
        await harness.deliver(key)
    await harness.unheard(run, Code.UNKNOWN_KIND)


async def test_a_kind_that_an_older_build_met_is_done_by_the_newer_one(harness: TicketHarness) -> None:
    run = harness.sell()
    meta = {"kind": "basic_clean", "ticket": harness.ticket(run)}
    key = await harness.put(run, "original.jpg", pictures.jpeg(), meta)
    newer = harness.out
    harness.out = dataclasses.replace(newer, recipes={})
    with pytest.raises(NotHere):
        await harness.deliver(key)
    harness.out = newer
    assert await harness.deliver(key) == {"accepted": 1}
    await harness.promise(run, "success")


@pytest.mark.parametrize("kind", STRANGE_KINDS)
async def test_a_kind_that_the_ticket_does_not_sell_fails_the_task(harness: TicketHarness, kind: str) -> None:
    run = harness.sell()
    meta = {"kind": kind, "ticket": harness.ticket(run)}
    await harness.deliver(await harness.put(run, "original.jpg", pictures.jpeg(), meta))
    await harness.refused(run, Code.TICKET_INVALID)


async def test_a_picture_without_any_metadata_says_nothing_of_its_task(harness: TicketHarness) -> None:
    run = await ordered(harness, kind="", ticket="")
    await harness.unheard(run)


def unsigned(run: RunId, harness: TicketHarness) -> str:
    """A ticket whose header says that it needs no signature."""
    claims = jwt.decode(harness.ticket(run), options={"verify_signature": False})
    return jwt.encode(claims, key="", algorithm="none")


def changed(run: RunId, harness: TicketHarness) -> str:
    """A true ticket in which the kind was changed, under the old signature."""
    head, body, seal = harness.ticket(run, "model_pose12").split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    forged = base64.urlsafe_b64encode(json.dumps({**claims, "kind": "basic_clean"}).encode()).decode().rstrip("=")
    return f"{head}.{forged}.{seal}"


def claims_of(run: RunId, harness: TicketHarness, **changes: Any) -> str:
    """A ticket signed with the true secret, with wrong claims."""
    claims = jwt.decode(harness.ticket(run), options={"verify_signature": False}) | changes
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, SECRET.reveal(), algorithm="HS256")


TICKETS: Final[Mapping[str, tuple[Callable[[RunId, TicketHarness], str], Code | None]]] = {
    "missing": (lambda *_: "", None),
    "forged": (lambda *_: "forged", None),
    "three dots": (lambda *_: "...", None),
    "no JSON inside": (lambda *_: "e30.bm8.x", None),
    "another secret": (lambda run, harness: harness.ticket(run, secret=Secret("x" * 40)), None),
    "no signature": (unsigned, None),
    "changed": (changed, None),
    "signature cut off": (lambda run, harness: harness.ticket(run).rpartition(".")[0] + ".", None),
    "longer than any": (lambda run, harness: harness.ticket(run) + "A" * 2000, None),
    "not text": (lambda *_: "票据", None),
    "expired": (lambda run, harness: harness.ticket(run, expires=int(harness.now()) - 1), Code.TICKET_EXPIRED),
    "expired this second": (lambda run, harness: harness.ticket(run, expires=int(harness.now())), Code.TICKET_EXPIRED),
    "of the year 1": (lambda run, harness: harness.ticket(run, expires=-(10**12)), Code.TICKET_EXPIRED),
    "another task": (lambda run, harness: harness.ticket(run, task="other"), None),
    "another user": (lambda run, harness: harness.ticket(run, user="other"), None),
    "another step": (lambda run, harness: harness.ticket(run, step=1), None),
    "another kind": (lambda run, harness: harness.ticket(run, "model_pose12"), Code.TICKET_INVALID),
    "other parameters": (lambda run, harness: harness.ticket(run, params={"quality": 1}), Code.TICKET_INVALID),
    "another audience": (lambda run, harness: claims_of(run, harness, aud="another"), None),
    "no audience": (lambda run, harness: claims_of(run, harness, aud=None), None),
    "no end": (lambda run, harness: claims_of(run, harness, exp=None), None),
    "an end that is no number": (lambda run, harness: claims_of(run, harness, exp="never"), None),
    "no task": (lambda run, harness: claims_of(run, harness, task=None), None),
    "a list of users": (lambda run, harness: claims_of(run, harness, sub=[run.user]), None),
}
"""Maker of a ticket, and the code of its task's verdict; None if the ticket does not show that the task was sold."""


async def judged(harness: TicketHarness, run: RunId, code: Code | None) -> None:
    await (harness.refused(run, code) if code else harness.unheard(run))


@pytest.mark.parametrize("name", TICKETS)
async def test_without_a_true_ticket_nothing_is_done(harness: TicketHarness, name: str) -> None:
    make, code = TICKETS[name]
    run = harness.sell()
    meta = {"kind": "basic_clean", "ticket": make(run, harness)}
    await harness.deliver(await harness.put(run, "original.jpg", pictures.jpeg(), meta))
    await judged(harness, run, code)


@pytest.mark.parametrize("name", TICKETS)
async def test_without_a_true_ticket_in_a_task_file_nothing_is_done_either(harness: TicketHarness, name: str) -> None:
    make, code = TICKETS[name]
    run = harness.sell()
    await harness.put(run, "a.jpg", pictures.jpeg())
    order = {"kind": "basic_clean", "inputs": ["a.jpg"], "ticket": make(run, harness)}
    await harness.deliver(await harness.put(run, "task.json", json.dumps(order).encode()))
    await judged(harness, run, code)


async def test_a_ticket_is_good_for_one_task_however_often_it_is_shown(harness: TicketHarness) -> None:
    run = await harness.submit(pictures.jpeg())
    ticket = {"kind": "basic_clean", "ticket": harness.ticket(run)}
    await harness.deliver(await harness.put(run, "original.png", pictures.palette(), ticket))
    await harness.promise(run, "success")
    assert harness.heard(run) == ["success"]
    assert await harness.outputs(run) == [f"output/{run.user}/{run.task}/result_01.jpg"]


async def test_the_ticket_is_nowhere_in_what_is_kept_or_sent(harness: TicketHarness) -> None:
    run = await harness.submit(pictures.jpeg(), kind="model_pose12")
    await harness.promise(run, "success")
    seal = harness.ticket(run, "model_pose12").rpartition(".")[2].encode()
    page = await harness.ledger.objects.list("")
    kept = [(await harness.ledger.objects.get(item.key)).body for item in page.items]
    assert not any(seal in body for body in [*kept, *(sent.payload for sent in harness.wire.sent)])


def file(**changes: Any) -> dict[str, Any]:
    """A task file; the value `sold` of `ticket` becomes a true one."""
    return {"kind": "basic_clean", "params": {}, "inputs": ["a.jpg"], "ticket": "sold", **changes}


FILES: Final[Mapping[str, tuple[Any, Code | None]]] = {
    "nothing": (b"", None),
    "no JSON": (b"kind: basic_clean", None),
    "cut JSON": (b'{"kind":"basic_clean","inputs":["a.jpg"', None),
    "bytes that are no text": (b'{"kind":"\xff\xfe"}', None),
    "a byte order mark": (b"\xef\xbb\xbf{}", None),
    "NUL": (b"\0" * 100, None),
    "a picture": (pictures.jpeg(), None),
    "an array": (["a.jpg"], None),
    "null": (None, None),
    "64 KB and more": (file(ticket="x" * 70_000), None),
    "33 MB": (b" " * (33 << 20), None),
    "nested 10,000 deep": (b'{"params":' + b'{"a":' * 10_000, None),
    "a name nobody knows": (file(webhook="http://127.0.0.1/"), Code.BAD_PARAMETERS),
    "a kind that is a number": (file(kind=7), Code.BAD_PARAMETERS),
    "no kind": ({"inputs": ["a.jpg"], "ticket": "sold"}, Code.BAD_PARAMETERS),
    "a kind that was not sold": (file(kind="model_pose12"), Code.TICKET_INVALID),
    "parameters that are a list": (file(params=[]), Code.BAD_PARAMETERS),
    "parameters nobody knows": (file(params={"x": 1}), Code.TICKET_INVALID),
    "parameters that were not sold": (file(params={"quality": 1}), Code.TICKET_INVALID),
    "no inputs": ({"kind": "basic_clean", "ticket": "sold"}, Code.BAD_PARAMETERS),
    "an empty list": (file(inputs=[]), Code.BAD_PARAMETERS),
    "inputs that are a text": (file(inputs="a.jpg"), Code.BAD_PARAMETERS),
    "an input that is a number": (file(inputs=[1]), Code.BAD_PARAMETERS),
    "an input that is null": (file(inputs=[None]), Code.BAD_PARAMETERS),
    "13 inputs": (file(inputs=["a.jpg"] * 13), Code.TICKET_INVALID),
    "10,000 inputs": (file(inputs=["a"] * 10_000), Code.TICKET_INVALID),
    "another task's folder": (file(inputs=["../other/a.jpg"]), Code.BAD_PARAMETERS),
    "an encoded way there": (file(inputs=["..%2Fother%2Fa.jpg"]), Code.NOT_UPLOADED),
    "a folder": (file(inputs=["x/a.jpg"]), Code.BAD_PARAMETERS),
    "from the root": (file(inputs=["/a.jpg"]), Code.BAD_PARAMETERS),
    "a backslash": (file(inputs=["..\\a.jpg"]), Code.NOT_UPLOADED),
    "a URL": (file(inputs=["https://example.com/a.jpg"]), Code.BAD_PARAMETERS),
    "itself": (file(inputs=["task.json"]), Code.BAD_PARAMETERS),
    "two dots": (file(inputs=[".."]), Code.BAD_PARAMETERS),
    "an extension alone": (file(inputs=[".jpg"]), Code.BAD_PARAMETERS),
    "no name": (file(inputs=[""]), Code.BAD_PARAMETERS),
    "a line end": (file(inputs=["a\n.jpg"]), Code.INVALID_ID),
    "a name that is NUL": (file(inputs=["\0.jpg"]), Code.INVALID_ID),
    "a name without end": (file(inputs=["a" * 1000 + ".jpg"]), Code.INVALID_ID),
    "a file that is not there": (file(inputs=["a.jpg", "missing.jpg"]), Code.NOT_UPLOADED),
    "a file that is empty": (file(inputs=["a.jpg", "empty.png"]), Code.EMPTY_FILE),
    "a file of 33 MB": (file(inputs=["a.jpg", "huge.png"]), Code.PICTURE_TOO_LARGE),
    "a file that is no picture": (file(inputs=["a.jpg", "text.jpg"]), Code.BAD_PICTURE),
}


@pytest.mark.parametrize("name", FILES)
async def test_a_task_file_that_cannot_be_done_fails_its_task(harness: TicketHarness, name: str) -> None:
    document, code = FILES[name]
    run = harness.sell()
    contents = {"a.jpg": pictures.jpeg(), "empty.png": b"", "huge.png": bytes(33 << 20), "text.jpg": pictures.TEXT}
    for file_name, body in contents.items():
        if name.startswith("a file") or file_name == "a.jpg":
            await harness.put(run, file_name, body)
    await harness.data.put("input/u1/other/a.jpg", pictures.jpeg())
    if isinstance(document, dict) and document.get("ticket") == "sold":
        document = {**document, "ticket": harness.ticket(run, inputs=2)}
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    await harness.deliver(await harness.put(run, "task.json", body))
    await judged(harness, run, code)


async def test_two_inputs_for_a_kind_that_takes_one(harness: TicketHarness) -> None:
    run = harness.sell("model_pose12")
    for name in ("a.jpg", "b.jpg"):
        await harness.put(run, name, pictures.jpeg())
    order = {
        "kind": "model_pose12",
        "inputs": ["a.jpg", "b.jpg"],
        "ticket": harness.ticket(run, "model_pose12", inputs=2),
    }
    await harness.deliver(await harness.put(run, "task.json", json.dumps(order).encode()))
    await harness.refused(run, Code.BAD_PARAMETERS)


async def test_as_many_inputs_as_the_kind_takes(harness: TicketHarness) -> None:
    run = harness.sell()
    await harness.put(run, "a.jpg", pictures.jpeg())
    order = {"kind": "basic_clean", "inputs": ["a.jpg"] * 12, "ticket": harness.ticket(run, inputs=12)}
    await harness.deliver(await harness.put(run, "task.json", json.dumps(order).encode()))
    await harness.promise(run, "success")
    assert len(await harness.outputs(run)) == 12


async def test_more_inputs_than_were_sold(harness: TicketHarness) -> None:
    run = harness.sell()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        await harness.put(run, name, pictures.jpeg())
    order = {"kind": "basic_clean", "inputs": ["a.jpg", "b.jpg", "c.jpg"], "ticket": harness.ticket(run, inputs=2)}
    await harness.deliver(await harness.put(run, "task.json", json.dumps(order).encode()))
    await harness.refused(run, Code.TICKET_INVALID)


async def test_the_same_input_twice_gives_two_results_and_was_sold_twice(harness: TicketHarness) -> None:
    run = harness.sell()
    await harness.put(run, "a.jpg", pictures.jpeg())
    order = {"kind": "basic_clean", "inputs": ["a.jpg", "a.jpg"], "ticket": harness.ticket(run, inputs=2)}
    await harness.deliver(await harness.put(run, "task.json", json.dumps(order).encode()))
    await harness.promise(run, "success")
    assert len(await harness.outputs(run)) == 2


async def test_a_name_that_comes_twice_in_a_task_file_counts_once_and_must_be_what_was_sold(
    harness: TicketHarness,
) -> None:
    run = harness.sell()
    await harness.put(run, "a.jpg", pictures.jpeg())
    ticket = json.dumps(harness.ticket(run))
    body = f'{{"kind":"model_pose12","kind":"basic_clean","inputs":["b.jpg"],"inputs":["a.jpg"],"ticket":{ticket}}}'
    await harness.deliver(await harness.put(run, "task.json", body.encode()))
    await harness.promise(run, "success")


ANYTHING: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PARAMS: Final = st.dictionaries(
    st.sampled_from(["format", "quality", "max_side", "background", "prompt"]) | st.text(max_size=8),
    ANYTHING,
    max_size=4,
)
NAMES: Final = st.sampled_from(["a.jpg", "../a.jpg", "task.json", "b.png"]) | st.text(max_size=20)
FIELDS: Final = {
    "kind": st.sampled_from(KINDS) | ANYTHING,
    "params": PARAMS | ANYTHING,
    "inputs": st.lists(NAMES, max_size=14) | ANYTHING,
    "ticket": st.just("sold") | ANYTHING,
}
DOCUMENTS: Final = st.fixed_dictionaries({}, optional=FIELDS) | ANYTHING


@settings(max_examples=120, deadline=None)
@given(document=DOCUMENTS, tail=st.sampled_from([b"", b"\0", b"}", b"\xff", b" "]), params=st.text() | st.binary())
def test_whatever_is_ordered_the_task_is_taken_or_fails(document: Any, tail: bytes, params: str | bytes) -> None:
    """No text of an uploader may raise an error: the platform would repeat the event without end."""

    async def play() -> None:
        async with TicketHarness() as harness:
            run, other = harness.sell(), harness.sell()
            await harness.put(run, "a.jpg", pictures.jpeg())
            sold = (
                {"ticket": harness.ticket(run)}
                if isinstance(document, dict) and document.get("ticket") == "sold"
                else {}
            )
            body = json.dumps(document | sold if sold else document).encode() + tail
            text = params if isinstance(params, str) else params.decode("utf-8", "surrogateescape")
            meta = {"kind": "basic_clean", "params": text, "ticket": harness.ticket(other)}
            keys = [
                await harness.put(run, "task.json", body),
                await harness.put(other, "original.jpg", pictures.jpeg(), meta),
            ]
            await harness.deliver(*keys)
            if await harness.ledger.verdict(run) is None:
                # It has no ticket, or an unreadable one: the backend's list ends the task.
                await asyncio.sleep(harness.out.policy.upload_limit_s)
                await harness.wake(run, "sweep", since=1)
                await harness.drain()
            for one in (run, other):
                assert (await harness.verdict(one)).status in {"success", "failed"}
                assert harness.state(one)[0] == (await harness.verdict(one)).status

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(play())
