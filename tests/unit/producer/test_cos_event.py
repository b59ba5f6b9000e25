"""COS events, as documented and as observed, and any other input of a caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.cos_event import Upload, uploads_in

Make = Callable[..., Mapping[str, Any]]
KEY = "input/u1/t1/original.jpg"


def test_the_documented_event(event: Make) -> None:
    assert uploads_in(event(KEY)) == ((Upload("pictures-1250000000", KEY),), 0)


def test_several_records_keep_their_order(event: Make) -> None:
    uploads, others = uploads_in(event("a/b", "c", "d/e/f"))
    assert [upload.key for upload in uploads] == ["a/b", "c", "d/e/f"]
    assert others == 0


@pytest.mark.parametrize("name", ["cos:ObjectCreated:*", "cos:ObjectCreated:Post", "cos:ObjectCreated:Copy"])
def test_every_way_to_make_an_object_counts(event: Make, name: str) -> None:
    assert len(uploads_in(event(KEY, name=name))[0]) == 1


@pytest.mark.parametrize("name", ["cos:ObjectRemove:Delete", "cos:ObjectRestore:Completed", "", "ObjectCreated", "x"])
def test_other_events_are_counted_and_left_alone(event: Make, name: str) -> None:
    assert uploads_in(event(KEY, name=name)) == ((), 1)


def changed(event: Mapping[str, Any], value: Any, *path: str) -> Mapping[str, Any]:
    place: Any = event["Records"][0]
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return event


@pytest.mark.parametrize(
    ("value", "path", "expected"),
    [
        (1250000000, ("cos", "cosBucket", "appid"), "pictures-1250000000"),
        ("", ("cos", "cosBucket", "appid"), "pictures"),
        (None, ("cos", "cosBucket", "appid"), "pictures"),
        ("pictures-1250000000", ("cos", "cosBucket", "name"), "pictures-1250000000"),
        ("1029", ("cos", "cosObject", "size"), "pictures-1250000000"),
    ],
)
def test_spellings_that_were_seen(event: Make, value: Any, path: tuple[str, ...], expected: str) -> None:
    assert uploads_in(changed(event(KEY), value, *path)) == ((Upload(expected, KEY),), 0)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (None, ("cos",)),
        ([], ("cos", "cosObject")),
        ("", ("cos", "cosObject", "key")),
        ("/1250000000/pictures", ("cos", "cosObject", "key")),
        ({}, ("cos", "cosObject", "key")),
        (None, ("cos", "cosBucket")),
        ("", ("cos", "cosBucket", "name")),
        ("put", ("event",)),
        (None, ("event", "eventName")),
    ],
)
def test_a_record_without_what_matters_is_counted_and_left_alone(
    event: Make, value: Any, path: tuple[str, ...]
) -> None:
    assert uploads_in(changed(event(KEY), value, *path)) == ((), 1)


@pytest.mark.parametrize("other", [{}, {"Records": None}, {"Records": {}}, {"Records": "x"}, {"records": []}])
def test_what_is_no_event_has_no_uploads(other: Mapping[str, Any]) -> None:
    assert uploads_in(other) == ((), 0)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Records", "cos", "cosObject", "cosBucket", "key", "name", "appid", "event", "eventName"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.lists(ANYTHING, max_size=4))
def test_nothing_that_comes_raises(records: list[Any]) -> None:
    uploads, others = uploads_in({"Records": records})
    assert len(uploads) + others == len(records)


def test_what_is_read_holds_nothing_of_the_uploaders_authorization(event: Make) -> None:
    assert "AKIDuploader" not in repr(uploads_in(event(KEY)))
