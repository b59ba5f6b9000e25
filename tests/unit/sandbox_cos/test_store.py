"""The store: whole objects or none, over restarts, in key order."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.cos.errors import Refused
from sandbox.cos.store import Blob, Entry, Store

BUCKET = "demo-1250000000"
TEXT = {"content-type": "text/plain"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    ticks = itertools.count(1000)
    found = Store(tmp_path, lambda: float(next(ticks)))
    yield found
    found.close()


def blob(store: Store, body: bytes) -> Blob:
    writer = store.writer()
    writer.write(body)
    return writer.finish()


def put(store: Store, key: str, body: bytes, *, new: bool = False) -> Entry:
    return store.put(BUCKET, key, blob(store, body), TEXT, new=new)


def read(store: Store, key: str) -> bytes:
    with store.open(BUCKET, key)[1] as file:
        return file.read()


def files(tmp_path: Path) -> int:
    return sum(1 for folder in ("blobs", "incoming") for _ in (tmp_path / folder).iterdir())


def test_what_was_put_is_found_after_a_restart(tmp_path: Path) -> None:
    first = Store(tmp_path, lambda: 5.0)
    entry = put(first, "输入/a b+c.txt", b"hello")
    first.set_note(BUCKET, "", "lifecycle", b"<x/>")
    first.close()
    second = Store(tmp_path, lambda: 9.0)
    assert second.find(BUCKET, "输入/a b+c.txt") == entry
    assert (entry.etag, entry.size, entry.modified) == ("5d41402abc4b2a76b9719d911017c592", 5, 5.0)
    assert read(second, "输入/a b+c.txt") == b"hello"
    assert second.note(BUCKET, "", "lifecycle") == b"<x/>"
    second.close()


def test_what_a_crash_left_behind_is_swept_at_the_next_start(tmp_path: Path) -> None:
    first = Store(tmp_path, lambda: 5.0)
    put(first, "kept", b"kept")
    (tmp_path / "incoming" / "half").write_bytes(b"ha")
    blob(first, b"never named")
    first.close()
    assert files(tmp_path) == 3
    second = Store(tmp_path, lambda: 5.0)
    assert files(tmp_path) == 1
    assert read(second, "kept") == b"kept"
    second.close()


@pytest.mark.parametrize("key", ["../../etc/passwd", "/absolute", "a/../b", ".", "..", "a\x00b", "con", "x" * 850])
def test_keys_never_become_file_names(store: Store, tmp_path: Path, key: str) -> None:
    put(store, key, b"here")
    assert read(store, key) == b"here"
    assert {path.name for path in tmp_path.iterdir()} >= {"blobs", "incoming", "index.sqlite"}
    assert not (tmp_path.parent / "etc").exists()


def test_replacing_and_deleting_leave_no_bodies_behind(store: Store, tmp_path: Path) -> None:
    put(store, "a", b"one")
    put(store, "a", b"two")
    assert (read(store, "a"), files(tmp_path)) == (b"two", 1)
    store.delete(BUCKET, ["a", "never there"])
    assert files(tmp_path) == 0
    with pytest.raises(Refused, match="NoSuchKey"):
        store.find(BUCKET, "a")


def test_an_open_body_survives_its_replacement(store: Store) -> None:
    put(store, "a", b"one")
    _, file = store.open(BUCKET, "a")
    put(store, "a", b"two")
    with file:
        assert file.read() == b"one"


def test_of_many_create_only_puts_exactly_one_wins(store: Store, tmp_path: Path) -> None:
    start = threading.Barrier(16)

    def attempt(number: int) -> int | str:
        body = blob(store, f"{number}".encode())
        start.wait()
        try:
            store.put(BUCKET, "record", body, TEXT, new=True)
        except Refused as refused:
            return refused.code
        return number

    with ThreadPoolExecutor(16) as threads:
        outcomes = list(threads.map(attempt, range(16)))
    winners = [outcome for outcome in outcomes if isinstance(outcome, int)]
    assert [f"{number}".encode() for number in winners] == [read(store, "record")]
    assert outcomes.count("FileAlreadyExists") == 15
    assert files(tmp_path) == 1


def test_buckets_are_apart(store: Store) -> None:
    put(store, "a", b"one")
    with pytest.raises(Refused, match="NoSuchKey"):
        store.find("other-1250000000", "a")


def test_a_copy_is_independent_of_its_source(store: Store) -> None:
    put(store, "a", b"one")
    seen: list[Entry] = []
    entry, copied = store.copy((BUCKET, "a"), seen.append)
    store.put(BUCKET, "b", copied, entry.headers)
    store.delete(BUCKET, ["a"])
    assert (read(store, "b"), [found.key for found in seen]) == (b"one", ["a"])


def test_a_copy_that_is_refused_leaves_nothing(store: Store, tmp_path: Path) -> None:
    put(store, "a", b"one")

    def refuse(_: Entry) -> None:
        raise Refused(412, "PreconditionFailed", "no")

    with pytest.raises(Refused, match="PreconditionFailed"):
        store.copy((BUCKET, "a"), refuse)
    assert files(tmp_path) == 1


def test_notes_go_with_their_object(store: Store) -> None:
    with pytest.raises(Refused, match="NoSuchKey"):
        store.set_note(BUCKET, "a", "tagging", b"<t/>")
    put(store, "a", b"one")
    store.set_note(BUCKET, "a", "tagging", b"<t/>")
    assert store.note(BUCKET, "a", "tagging") == b"<t/>"
    put(store, "a", b"two")
    assert store.note(BUCKET, "a", "tagging") is None


def test_an_upload_completes_once(store: Store, tmp_path: Path) -> None:
    upload = store.begin(BUCKET, "a", TEXT)
    store.add_part(BUCKET, "a", upload, 1, blob(store, b"worse"))
    store.add_part(BUCKET, "a", upload, 1, blob(store, b"one "))
    store.add_part(BUCKET, "a", upload, 2, blob(store, b"two"))
    begun, parts = store.parts(BUCKET, "a", upload)
    entry = store.complete(BUCKET, begun, store.join(parts, "whole-2"), TEXT, new=False)
    assert (read(store, "a"), entry.etag, entry.size, files(tmp_path)) == (b"one two", "whole-2", 7, 1)
    with pytest.raises(Refused, match="NoSuchUpload"):
        store.complete(BUCKET, begun, blob(store, b""), TEXT, new=False)
    assert files(tmp_path) == 1


def test_an_aborted_upload_leaves_nothing(store: Store, tmp_path: Path) -> None:
    upload = store.begin(BUCKET, "a", TEXT)
    store.add_part(BUCKET, "a", upload, 1, blob(store, b"one"))
    assert [found.id for found in store.uploads(BUCKET, "a")] == [upload]
    store.abort(BUCKET, "a", upload)
    assert (store.uploads(BUCKET, ""), files(tmp_path)) == ([], 0)
    with pytest.raises(Refused, match="NoSuchUpload"):
        store.add_part(BUCKET, "a", upload, 2, blob(store, b"two"))
    assert files(tmp_path) == 0


@pytest.fixture(scope="module")
def listing_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    found = Store(tmp_path_factory.mktemp("listing"), lambda: 1.0)
    yield found
    found.close()


KEYS = st.sets(st.text("ab/é中", min_size=1, max_size=6), max_size=25)


def expected(keys: set[str], prefix: str, delimiter: str, marker: str) -> list[str]:
    """The whole listing by its definition, without pages."""
    shown: set[str] = set()
    for key in keys:
        if key.startswith(prefix):
            head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            shown.add(prefix + head + delimiter if found else key)
    return sorted(name for name in shown if name > marker)


@given(
    keys=KEYS,
    prefix=st.text("ab/", max_size=2),
    delimiter=st.sampled_from(["", "/"]),
    marker=st.text("ab/中", max_size=2),
    limit=st.integers(1, 5),
)
@settings(deadline=None, max_examples=60)
def test_pages_together_are_the_listing(
    listing_store: Store, keys: set[str], prefix: str, delimiter: str, marker: str, limit: int
) -> None:
    store, bucket = listing_store, uuid.uuid4().hex
    for key in keys:
        store.put(bucket, key, blob(store, b""), {})
    shown: list[str] = []
    at = marker
    while True:
        page = store.page(bucket, prefix=prefix, delimiter=delimiter, marker=at, limit=limit)
        names = sorted([*(entry.key for entry in page.entries), *page.prefixes])
        assert len(names) <= limit
        shown += names
        if not page.next_marker:
            break
        assert page.next_marker == names[-1]
        at = page.next_marker
    assert shown == expected(keys, prefix, delimiter, marker)
