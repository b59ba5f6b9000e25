"""Rules that every object store keeps. A change of the port begins here."""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messages.errors import InvalidKey, Permanent, Transient
from services.errors import AuditDown, BadPicture, Changed, Exists, NotFound, ObjectsDown
from services.objects.port import Objects, PictureRule

MIB = 1 << 20


def md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


async def body_of(objects: Objects, key: str) -> bytes | None:
    try:
        return (await objects.get(key, limit=1 << 30)).body
    except NotFound:
        return None


async def download(objects: Objects, key: str, **options: Any) -> list[bytes]:
    async with objects.open(key, **options) as pieces:
        return [piece async for piece in pieces]


# Put, get, head


async def test_what_is_put_is_got(harness: Any) -> None:
    key = harness.key("a.txt")
    put = await harness.objects.put(key, b"hello", content_type="text/plain", meta={"Ticket": "t-1", "kind": "clean"})
    content = await harness.objects.get(key)
    head = await harness.objects.head(key)
    assert content.body == b"hello"
    assert put.etag == head.etag == content.info.etag == md5(b"hello")
    assert put.key == head.key == content.info.key == key
    assert put.size == head.size == content.info.size == 5
    assert put.content_type == head.content_type == content.info.content_type == "text/plain"
    assert put.meta == head.meta == content.info.meta == {"ticket": "t-1", "kind": "clean"}


async def test_times_are_the_stores_and_whole_seconds(harness: Any) -> None:
    key = harness.key("a")
    before = int(time.time())
    put = await harness.objects.put(key, b"1")
    assert before <= put.date == put.modified <= time.time()
    harness.pass_time(90)
    head = await harness.objects.head(key)
    assert put.modified <= head.modified <= put.modified + 1
    assert 90 <= head.date - head.modified <= 95
    assert head.date == int(head.date)


async def test_an_untyped_object_is_a_stream_of_octets(harness: Any) -> None:
    key = harness.key("a")
    await harness.objects.put(key, b"")
    content = await harness.objects.get(key)
    assert (content.body, content.info.content_type) == (b"", "application/octet-stream")
    assert content.info.meta == {}


async def test_a_put_replaces_everything(harness: Any) -> None:
    key = harness.key("a")
    await harness.objects.put(key, b"old", content_type="text/plain", meta={"a": "1"})
    await harness.objects.put(key, b"newer")
    content = await harness.objects.get(key)
    assert content.body == b"newer"
    assert content.info.meta == {}
    assert content.info.content_type == "application/octet-stream"


async def test_what_is_not_there_is_not_found(harness: Any) -> None:
    key = harness.key("nothing")
    for call in (
        harness.objects.get(key),
        harness.objects.head(key),
        harness.objects.copy(key, harness.key("b")),
        harness.objects.process(key, [PictureRule(harness.key("b"), "imageMogr2/strip")]),
        download(harness.objects, key),
    ):
        with pytest.raises(NotFound, match="nothing"):
            await call


async def test_a_get_takes_no_more_than_its_limit(harness: Any) -> None:
    key = harness.key("a")
    await harness.objects.put(key, b"x" * 1000)
    assert len((await harness.objects.get(key, limit=1000)).body) == 1000
    with pytest.raises(Permanent, match="999 bytes"):
        await harness.objects.get(key, limit=999)


async def test_reads_and_copies_hold_to_an_etag(harness: Any) -> None:
    key, target = harness.key("a"), harness.key("b")
    first = await harness.objects.put(key, b"first")
    assert (await harness.objects.get(key, if_match=first.etag)).body == b"first"
    assert await download(harness.objects, key, if_match=first.etag) == [b"first"]
    await harness.objects.put(key, b"second")
    for call in (
        harness.objects.get(key, if_match=first.etag),
        download(harness.objects, key, if_match=first.etag),
        harness.objects.copy(key, target, if_match=first.etag),
    ):
        with pytest.raises(Changed):
            await call
    assert await body_of(harness.objects, target) is None


@pytest.mark.parametrize("key", ["", "/a", "a\nb", "x" * 851, "a/.."])
async def test_a_key_that_cannot_be_one_reaches_no_store(harness: Any, key: str) -> None:
    rule = PictureRule(harness.key("b"), "imageMogr2/strip")
    for call in (
        harness.objects.put(key, b""),
        harness.objects.put_new(key, b""),
        harness.objects.get(key),
        harness.objects.head(key),
        harness.objects.copy(key, harness.key("b")),
        harness.objects.copy(harness.key("b"), key),
        harness.objects.delete([harness.key("b"), key]),
        harness.objects.presign(key, expires=60),
        harness.objects.process(key, [rule]),
        harness.objects.audit([key]),
    ):
        with pytest.raises(InvalidKey):
            await call
    with pytest.raises(InvalidKey):
        harness.objects.open(key)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20))
def test_any_key_goes_through_every_call(harness: Any, name: str) -> None:
    async def body() -> None:
        folder = harness.key(f"{md5(name.encode())}/")
        key, copy = f"{folder}{name}!", f"{folder}{name}!copy"
        await harness.objects.put(key, b"1")
        await harness.objects.copy(key, copy)
        assert await body_of(harness.objects, copy) == b"1"
        assert [item.key for item in (await harness.objects.list(key)).items] == [key, copy]
        assert await harness.visit(await harness.objects.presign(key, expires=60)) == b"1"
        await harness.objects.delete([key, copy])
        assert (await harness.objects.list(folder)).items == ()

    asyncio.run(body())


# Create-only


async def test_of_fifty_who_create_one_wins(harness: Any) -> None:
    key = harness.key("race")

    async def create(number: int) -> int | None:
        try:
            await harness.objects.put_new(key, b"%d" % number)
        except Exists:
            return None
        return number

    winners = [number for number in await asyncio.gather(*map(create, range(50))) if number is not None]
    assert len(winners) == 1
    assert await body_of(harness.objects, key) == b"%d" % winners[0]


async def test_an_answer_cut_behind_a_create_leaves_the_object(harness: Any) -> None:
    key = harness.key("a")
    harness.cut("put_new", key, done=True)
    with pytest.raises(ObjectsDown):
        await harness.objects.put_new(key, b"mine")
    assert await body_of(harness.objects, key) == b"mine"
    with pytest.raises(Exists):
        await harness.objects.put_new(key, b"mine")


async def test_a_request_cut_before_a_create_leaves_nothing(harness: Any) -> None:
    key = harness.key("a")
    harness.cut("put_new", key, done=False)
    with pytest.raises(ObjectsDown):
        await harness.objects.put_new(key, b"mine")
    assert await body_of(harness.objects, key) is None
    await harness.objects.put_new(key, b"mine")


async def test_create_only_is_per_key_and_ends_with_a_delete(harness: Any) -> None:
    key = harness.key("a")
    created = await harness.objects.put_new(key, b"1", content_type="application/json")
    assert (created.etag, created.size) == (md5(b"1"), 1)
    assert (await harness.objects.head(key)).content_type == "application/json"
    await harness.objects.put_new(harness.key("b"), b"1")
    await harness.objects.delete([key])
    await harness.objects.put_new(key, b"2")
    assert await body_of(harness.objects, key) == b"2"


async def test_a_bucket_tells_whether_it_ever_kept_versions(harness: Any) -> None:
    assert not await harness.objects.versioned()
    assert await harness.versioned.versioned()


# Copy, delete, list


async def test_a_copy_takes_type_and_meta_along(harness: Any) -> None:
    source, target = harness.key("a"), harness.key("b")
    put = await harness.objects.put(source, b"body", content_type="image/png", meta={"kind": "pose"})
    copied = await harness.objects.copy(source, target, if_match=put.etag)
    assert (copied.key, copied.etag, copied.size) == (target, put.etag, 0)
    assert abs(copied.modified - time.time()) < 5
    head = await harness.objects.head(target)
    assert (head.size, head.content_type, head.meta) == (4, "image/png", {"kind": "pose"})
    assert await body_of(harness.objects, source) == b"body"


async def test_a_copy_replaces_what_is_there(harness: Any) -> None:
    source, target = harness.key("a"), harness.key("b")
    await harness.objects.put(source, b"new")
    await harness.objects.put(target, b"old")
    await harness.objects.copy(source, target)
    assert await body_of(harness.objects, target) == b"new"


@pytest.mark.parametrize("operation", ["put", "copy", "delete"])
async def test_what_was_done_before_an_answer_was_cut_is_done(harness: Any, operation: str) -> None:
    source, target = harness.key("a"), harness.key("b")
    await harness.objects.put(source, b"1")
    await harness.objects.put(target, b"0")
    harness.cut(operation, target, done=True)
    with pytest.raises(ObjectsDown):
        await {
            "put": lambda: harness.objects.put(target, b"1"),
            "copy": lambda: harness.objects.copy(source, target),
            "delete": lambda: harness.objects.delete([target]),
        }[operation]()
    assert await body_of(harness.objects, target) == (None if operation == "delete" else b"1")


async def test_deleting_what_is_not_there_is_fine(harness: Any) -> None:
    await harness.objects.put(harness.key("c"), b"1")
    await harness.objects.delete([])
    await harness.objects.delete([harness.key("a")])
    await harness.objects.delete([harness.key("a"), harness.key("b")])
    assert [item.key for item in (await harness.objects.list(harness.key(""))).items] == [harness.key("c")]


async def test_many_are_deleted_and_no_others(harness: Any) -> None:
    keys = [harness.key(f"d/{number:02d} 图<&>") for number in range(30)]
    for key in keys:
        await harness.objects.put(key, b"1")
    await harness.objects.delete(keys[:-1])
    assert [item.key for item in (await harness.objects.list(harness.key("d/"))).items] == keys[-1:]


async def test_a_listing_is_in_the_order_of_bytes(harness: Any) -> None:
    names = ["a", "a/b", "a/b c", "a/b+c", "a%2Fb", "b/", "Z", "é", "中", "｡", "😀", "a&b=<c>\"'"]
    keys = [harness.key(f"l/{name}") for name in names]
    for key in keys:
        await harness.objects.put(key, key.encode(), content_type="text/plain", meta={"a": "1"})
    await harness.objects.put(harness.key("m"), b"")
    page = await harness.objects.list(harness.key("l/"))
    assert [item.key for item in page.items] == sorted(keys, key=str.encode)
    assert page.next_after == ""
    assert abs(page.date - time.time()) < 30
    for item in page.items:
        assert (item.etag, item.size) == (md5(item.key.encode()), len(item.key.encode()))
        assert (item.content_type, item.meta) == ("", {}), "a listing does not tell"
        assert abs(item.modified - time.time()) < 30
        assert item.date >= item.modified


async def test_a_listing_goes_page_by_page(harness: Any) -> None:
    keys = [harness.key(f"p/{number:02d}") for number in range(7)]
    for key in keys:
        await harness.objects.put(key, b"")
    pages, after = [], ""
    while not pages or after:
        page = await harness.objects.list(harness.key("p/"), after=after, limit=3)
        pages.append([item.key for item in page.items])
        after = page.next_after
    assert pages == [keys[:3], keys[3:6], keys[6:]]
    full = await harness.objects.list(harness.key("p/"), limit=7)
    assert (len(full.items), full.next_after) == (7, "")
    between = await harness.objects.list(harness.key("p/"), after=harness.key("p/03x"))
    assert [item.key for item in between.items] == keys[4:]
    none = await harness.objects.list(harness.key("none/"))
    assert none.items == ()
    assert abs(none.date - time.time()) < 30, "the store tells its time though it has nothing to list"


# Streams


async def test_a_large_body_streams_both_ways(harness: Any, streamed: Any) -> None:
    key = harness.key("large")
    pieces = [bytes([number]) * 700_001 for number in range(12)]
    whole = b"".join(pieces)
    put = await harness.objects.put(key, streamed(pieces), content_type="video/mp4", meta={"a": "1"})
    assert (put.etag, put.size) == (md5(whole), len(whole))
    async with harness.objects.open(key) as reading:
        assert (reading.info.etag, reading.info.size) == (put.etag, put.size)
        assert (reading.info.content_type, reading.info.meta) == ("video/mp4", {"a": "1"})
        got = [piece async for piece in reading]
    assert max(map(len, got)) <= MIB
    assert len(got) > 1
    assert b"".join(got) == whole


@pytest.mark.parametrize("pieces", [[], [b""], [b"", b"a", b"", b"b", b""]])
async def test_empty_pieces_and_bodies_stream_too(harness: Any, streamed: Any, pieces: list[bytes]) -> None:
    key = harness.key("a")
    await harness.objects.put(key, streamed(pieces))
    assert b"".join(await download(harness.objects, key)) == b"".join(pieces)


@pytest.mark.parametrize(
    "broken",
    [
        {"breaks_at": 0},
        {"breaks_at": 9},
        {"size": 10 * MIB + 1},
        {"size": 10 * MIB - 1},
        {"size": MIB},
        {"size": 0},
    ],
)
async def test_a_source_that_breaks_its_word_stores_nothing(harness: Any, streamed: Any, broken: Any) -> None:
    key = harness.key("a")
    await harness.objects.put(key, b"as before")
    with pytest.raises(Transient, match="source"):
        await harness.objects.put(key, streamed([b"x" * MIB] * 10, **broken))
    assert await body_of(harness.objects, key) == b"as before"


async def test_a_cancelled_upload_leaves_the_store_at_work(harness: Any, streamed: Any) -> None:
    key, begun = harness.key("a"), asyncio.Event()

    class Stuck:
        size = 3 * MIB

        async def __aiter__(self) -> Any:
            yield b"x" * MIB
            yield b"x" * MIB
            begun.set()
            await asyncio.Event().wait()

    for _ in range(3):
        putting = asyncio.create_task(harness.objects.put(key, Stuck()))
        await begun.wait()
        begun.clear()
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
    assert await body_of(harness.objects, key) is None
    await harness.objects.put(key, streamed([b"x"]))


async def test_downloads_feed_uploads_more_at_a_time_than_there_are_threads(harness: Any) -> None:
    keys = [harness.key(f"c/{number}") for number in range(24)]
    await harness.objects.put(keys[0], b"x" * (2 * MIB + 5))

    class Through:
        def __init__(self, reading: Any) -> None:
            self.size, self.reading = reading.info.size, reading

        def __aiter__(self) -> Any:
            return aiter(self.reading)

    async def relay(key: str) -> str:
        async with harness.objects.open(keys[0]) as reading:
            return (await harness.objects.put(key, Through(reading))).etag

    async with asyncio.timeout(30):
        etags = set(await asyncio.gather(*map(relay, keys[1:])))
    assert etags == {md5(b"x" * (2 * MIB + 5))}


async def test_a_download_may_be_left_early(harness: Any) -> None:
    key = harness.key("a")
    await harness.objects.put(key, b"x" * 5 * MIB)
    for _ in range(3):
        async with harness.objects.open(key) as reading:
            async for piece in reading:
                assert piece == b"x" * MIB
                break
    with pytest.raises(RuntimeError, match="ours"):
        async with harness.objects.open(key):
            raise RuntimeError("ours")
    assert len(b"".join(await download(harness.objects, key))) == 5 * MIB


# Presigned URLs


async def test_a_url_works_for_anybody_for_a_while(harness: Any) -> None:
    key = harness.key("输入/a b+c%.jpg")
    await harness.objects.put(key, b"picture")
    url = await harness.objects.presign(key, expires=60)
    assert await harness.visit(url) == b"picture"
    harness.pass_time(55)
    assert await harness.visit(url) == b"picture"
    harness.pass_time(10)
    assert await harness.visit(url) is None


async def test_a_url_is_for_one_method(harness: Any) -> None:
    key = harness.key("a")
    url = await harness.objects.presign(key, expires=60, method="PUT")
    assert await harness.visit(url) is None
    assert await harness.visit(url, "PUT", b"uploaded") is not None
    assert await body_of(harness.objects, key) == b"uploaded"
    assert await harness.visit(await harness.objects.presign(key, expires=60), "PUT", b"other") is None
    assert await body_of(harness.objects, key) == b"uploaded"


# Pictures


async def test_the_picture_service_writes_one_object_a_rule(harness: Any, photo: bytes) -> None:
    key = harness.key("in/photo.jpg")
    put = await harness.objects.put(key, photo, content_type="image/jpeg")
    rules = [
        PictureRule(harness.key("out/z.png"), "imageMogr2/thumbnail/64x/format/png"),
        PictureRule(harness.key("out/a.webp"), "imageMogr2/thumbnail/!50p/format/webp"),
        PictureRule(harness.key("out/上.jpg"), "imageMogr2/thumbnail/32x32!"),
    ]
    for count in (1, 3):
        done = await harness.objects.process(key, rules[:count])
        original = done.original
        assert (original.key, original.etag, original.format) == (key, put.etag, "jpeg")
        assert (original.width, original.height, original.size) == (512, 512, 0)
        assert [output.key for output in done.outputs] == [rule.key for rule in rules[:count]]
        for output in done.outputs:
            head = await harness.objects.head(output.key)
            assert (output.etag, output.size) == (head.etag, head.size)
    assert [(output.format, output.width, output.height) for output in done.outputs] == [
        ("png", 64, 64),
        ("webp", 256, 256),
        ("jpeg", 32, 32),
    ]


async def test_what_is_no_picture_is_the_tasks_own_fault(harness: Any) -> None:
    key, target = harness.key("a"), harness.key("b")
    await harness.objects.put(key, b"no picture at all")
    with pytest.raises(BadPicture):
        await harness.objects.process(key, [PictureRule(target, "imageMogr2/format/png")])
    assert await body_of(harness.objects, target) is None


async def test_a_rule_that_nobody_knows_is_ours(harness: Any, photo: bytes) -> None:
    key, good, bad = harness.key("a"), harness.key("b"), harness.key("c")
    await harness.objects.put(key, photo)
    rules = [PictureRule(good, "imageMogr2/format/png"), PictureRule(bad, "imageMogr2/enchant/9")]
    with pytest.raises(Permanent) as caught:
        await harness.objects.process(key, rules)
    assert not isinstance(caught.value, NotFound)
    assert await body_of(harness.objects, bad) is None


async def test_a_processing_has_one_to_five_rules(harness: Any) -> None:
    for rules in ([], [PictureRule(harness.key(str(number)), "imageMogr2/strip") for number in range(6)]):
        with pytest.raises(ValueError, match="1 to 5"):
            await harness.objects.process(harness.key("a"), rules)


async def test_the_audit_answers_in_the_order_of_the_keys(harness: Any, photo: bytes) -> None:
    names = ["z.jpg", "violation-上.jpg", "a.jpg", "suspect.jpg"]
    keys = [harness.key(name) for name in names]
    for key in keys:
        await harness.objects.put(key, photo)
    audits = await harness.objects.audit(keys)
    assert [audit.key for audit in audits] == keys
    assert [audit.result.violation for audit in audits] == [False, True, False, False]
    assert [audit.result.suspect for audit in audits] == [False, False, False, True]
    assert audits[1].result.score > audits[3].result.score > audits[0].result.score == 0
    assert (audits[0].result.label, audits[1].result.label) == ("Normal", "Porn")
    assert len(await harness.objects.audit(keys[:1])) == 1
    assert await harness.objects.audit([]) == ()


async def test_an_audit_that_misses_a_picture_is_no_audit(harness: Any, photo: bytes) -> None:
    await harness.objects.put(harness.key("a"), photo)
    await harness.objects.put(harness.key("text"), b"no picture")
    for missing in ("nothing", "text"):
        with pytest.raises(AuditDown):
            await harness.objects.audit([harness.key("a"), harness.key(missing)])
    with pytest.raises(ValueError, match="100"):
        await harness.objects.audit([harness.key("a")] * 101)
