"""Object keys: which keys are inputs, and the folder of everything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.codes import Code
from messages.errors import InvalidKey, Rejected
from messages.keys import (
    Facts,
    InputKey,
    RunId,
    check_id,
    dead_key,
    done_key,
    index_keys,
    output_key,
    parse_input_key,
    record_key,
    runs_prefix,
    staging_prefix,
    status_key,
)

BAD_IDS = [
    "",
    ".",
    "..",
    "a/b",
    "../x",
    "a.b",
    "-",
    "a" * 65,
    "a\n",
    "a\r\n",
    "\na",
    "a b",
    "用户",
    "ａ",
    "a\u0660",
    "a%2e",
    "a\x00",
    "a\\b",
    "é",
]
GOOD_IDS = ["-a", "--", "_a", "-_", "a", "0", "_", "A-z_9", "a" * 64, "a-", "7f3c2a9e-5b1d-4c8e-9a6f-0d2b4e6f8a1c"]


@pytest.mark.parametrize("value", GOOD_IDS)
def test_safe_ids_pass(value: str) -> None:
    assert check_id(value, "taskId") == value


@pytest.mark.parametrize("value", BAD_IDS)
def test_unsafe_ids_are_refused_and_the_field_is_named(value: str) -> None:
    with pytest.raises(InvalidKey, match=r"^taskId must be") as raised:
        check_id(value, "taskId")
    assert isinstance(raised.value, Rejected)
    assert raised.value.code is Code.INVALID_ID


def test_a_long_id_is_not_repeated_whole() -> None:
    with pytest.raises(InvalidKey) as raised:
        check_id("x" * 100_000, "userId")
    assert len(str(raised.value)) < 250


@given(st.text(max_size=70))
def test_no_id_that_passes_can_leave_its_folder(value: str) -> None:
    try:
        check_id(value, "taskId")
    except InvalidKey:
        return
    assert value.isascii()
    assert not set(value) & set("/\\.%?# \n\r\0")
    assert 1 <= len(value) <= 64


INPUTS = {
    "input/u/t/original.jpg": ("u", "t", "original.jpg"),
    "input/u/t/original.jpeg": ("u", "t", "original.jpeg"),
    "input/u/t/original.png": ("u", "t", "original.png"),
    "input/u/t/original.webp": ("u", "t", "original.webp"),
    "input/u/t/task.json": ("u", "t", "task.json"),
    "input/u/t/original.JPG": ("u", "t", "original.JPG"),
    "input/u/t/original.jfif": ("u", "t", "original.jfif"),
    # A format that is refused at once, by its name.
    "input/u/t/original.HEIC": ("u", "t", "original.HEIC"),
    "input/u/t/original.gif": ("u", "t", "original.gif"),
    "input/u/t/original.x": ("u", "t", "original.x"),
    "input/u/t/original.": None,
    "input/u/t/original.jp g": None,
    "input/u/t/original.\uff4a\uff50\uff47": None,
    "input/u/t/original.abcdefghijk": None,
    "input/u/t/Original.jpg": None,
    "input/u/t/task.JSON": None,
    "input/u/t/original.jpg\n": None,
    "input/u/t/original": None,
    "input/u/t/photo.jpg": None,
    "input/u/t/xoriginal.jpg": None,
    "input/u/t/original.jpg.exe": None,
    "input/u/t/task.json5": None,
    "input/u/t/": None,
    "input/u/t": None,
    "input/u/t/x/original.jpg": None,
    "input//u/t/original.jpg": None,
    "/input/u/t/original.jpg": None,
    "INPUT/u/t/original.jpg": None,
    "inputs/u/t/original.jpg": None,
    "output/u/t/original.jpg": None,
    "source/u/t/original.jpg": None,
    "staging/u/t/original.jpg": None,
    "": None,
}


@pytest.mark.parametrize("key", INPUTS)
def test_which_keys_start_a_task(key: str) -> None:
    expected = INPUTS[key]
    assert parse_input_key(key) == (InputKey(*expected) if expected else None)


@pytest.mark.parametrize("bad", [value for value in BAD_IDS if "/" not in value])
def test_an_input_with_unsafe_ids_is_refused_and_the_field_is_named(bad: str) -> None:
    with pytest.raises(InvalidKey, match=r"^userId"):
        parse_input_key(f"input/{bad}/t/original.jpg")
    with pytest.raises(InvalidKey, match=r"^taskId"):
        parse_input_key(f"input/u/{bad}/task.json")


@given(st.text(max_size=60))
def test_any_key_is_an_input_or_not_or_refused(tail: str) -> None:
    for key in (tail, f"input/{tail}", f"input/u/{tail}", f"input/{tail}/t/original.jpg"):
        try:
            found = parse_input_key(key)
        except InvalidKey:
            continue
        if found is not None:
            assert found.folder + found.name == key


def test_an_input_knows_its_folder() -> None:
    assert InputKey("u", "t", "task.json").folder == "input/u/t/"


FIRST = RunId("u", "t")
LATER = RunId("u", "t", step=2, run=1)


def test_where_everything_lies() -> None:
    assert record_key(FIRST, "accepted") == "ledger/u/t/0-0/accepted"
    assert record_key(LATER, "begun-clean-3") == "ledger/u/t/2-1/begun-clean-3"
    assert runs_prefix(LATER) == "ledger/u/t/2-"
    assert staging_prefix(FIRST) == "staging/u/t/0-0/"
    assert staging_prefix(LATER, "n0nce") == "staging/u/t/2-1/n0nce/"
    assert output_key(FIRST, "frame_01.jpg") == "output/u/t/frame_01.jpg"
    assert output_key(LATER, "frame_01.jpg") == "output/u/t/step_2/frame_01.jpg"
    assert dead_key("2025-11-23", "abc", "m1") == "dead/2025-11-23/abc/m1"


def test_the_folder_of_one_run_holds_no_other() -> None:
    # Deleting a prefix must not reach a neighbour whose name begins alike.
    runs = [RunId("u", "t", step, run) for step in (0, 1, 11) for run in (0, 1, 10, 11)]
    runs += [RunId("u", "t2"), RunId("u2", "t"), RunId("u", "t-0")]
    for one in runs:
        for other in runs:
            if one != other:
                assert not staging_prefix(other).startswith(staging_prefix(one))
                assert not record_key(other, "verdict").startswith(record_key(one, ""))


@given(st.lists(st.floats(1, 9.9e9), min_size=2, max_size=20), st.integers(0, 1))
def test_the_index_lists_the_newest_first(times: list[float], which: int) -> None:
    """By user over all time, by day within its day."""
    keys = [index_keys("u", f"t{n:02d}", when)[which] for n, when in enumerate(times)]
    in_key_order = sorted(range(len(times)), key=lambda n: keys[n].split("/")[3])
    reported = [int(times[n] * 1000) for n in in_key_order]
    assert reported == sorted(reported, reverse=True)


def test_a_task_has_three_index_entries() -> None:
    by_user, by_day, by_task = index_keys("u", "t-1_x", 1_763_888_400.123)
    reverse = str(10**13 - 1_763_888_400_123)
    assert by_user == f"index/user/u/{reverse}/t-1_x"
    assert by_day == f"index/day/2025-11-23/{reverse}/u/t-1_x"
    assert by_task == "index/task/t-1_x/u"


def test_the_entry_of_a_delivered_run_says_what_statistics_need() -> None:
    reverse = str(10**13 - 1_763_888_400_000)
    facts = Facts(1_763_888_400.0, "model_pose12", "failed", "vendor_failed", 12, 340, "0.25")
    key = f"done/2025-11-23/{reverse}/u/t/2-1/model_pose12/failed/vendor_failed/12/340/0.25"
    assert done_key(LATER, facts) == key
    empty = Facts(1_763_888_400.0, "", "success", "", 0, 1, "")
    assert done_key(LATER, empty) == f"done/2025-11-23/{reverse}/u/t/2-1/-/success/-/0/1/-"


def test_nothing_foreign_adds_a_part_to_the_entry_of_a_delivered_run() -> None:
    facts = Facts(1.0, "a/../b", "success", "\n", 0, 1, "1 / 2")
    assert done_key(FIRST, facts).count("/") == 11


def test_where_a_process_says_how_it_is() -> None:
    assert status_key("pump-1") == "status/pump-1"
