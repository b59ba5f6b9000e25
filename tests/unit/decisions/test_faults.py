"""An error in a dead letter: its text may travel, its place is where our own code failed."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.engine import faults
from consumers.engine.errors import StageTimeout
from consumers.engine.faults import DETAIL_LENGTH, Fault, fault_of
from consumers.engine.outcomes import dead_lettered
from consumers.engine.pauses import Pauses
from messages.bodies import Reason
from messages.codes import Code
from messages.errors import Permanent, Rejected
from messages.keys import check_id
from recipes.table import recipe_of
from telemetry.redaction import register
from telemetry.secrets import Secret

ROOT = Path(__file__).parents[3]


def raised_by(work: object, *arguments: object) -> Exception:
    try:
        work(*arguments)  # type: ignore[operator]
    except Exception as error:  # noqa: BLE001 - what the test is about
        return error
    raise AssertionError("nothing was raised")


@given(st.text(max_size=2000))
def test_a_detail_is_one_printable_line_of_bounded_length(text: str) -> None:
    detail = fault_of(Permanent(text)).detail
    assert len(detail) <= DETAIL_LENGTH
    assert detail.isprintable()
    assert detail == detail.strip()
    msgspec.json.encode(detail)


def test_a_detail_is_redacted_before_it_is_cut() -> None:
    register(Secret("planted-secret-of-the-faults"))
    text = "x" * (DETAIL_LENGTH - 8) + "planted-secret-of-the-faults"
    assert "planted" not in fault_of(Permanent(text)).detail
    assert "sign=abc" not in fault_of(Permanent("GET https://cdn.example/a?sign=abcdef0123456789 failed")).detail


def test_the_place_is_the_innermost_function_of_our_own() -> None:
    assert fault_of(raised_by(check_id, "a b", "taskId")).place == "messages.keys.check_id"
    assert fault_of(raised_by(recipe_of, "nope", {})).place == "recipes.table.recipe_of"


def test_a_defect_within_a_library_has_the_place_that_called_it() -> None:
    error = raised_by(check_id, None, "taskId")
    assert (type(error), fault_of(error).place) == (TypeError, "messages.keys.check_id")


def test_an_error_outside_our_code_has_no_place() -> None:
    assert fault_of(raised_by(int, "x")).place == ""


def test_code_and_class_are_the_errors_own() -> None:
    assert fault_of(Rejected("x", code=Code.BAD_PICTURE)).code is Code.BAD_PICTURE
    assert (fault_of(KeyError("mp4")).code, fault_of(KeyError("mp4")).error) == (Code.INTERNAL, "KeyError")
    assert dead_lettered(Reason.VENDOR, Permanent("x"), 3).n == 3


async def test_a_stage_that_was_too_slow_has_the_place_where_it_waited() -> None:
    try:
        async with asyncio.timeout(0):
            await rest()
    except TimeoutError as error:
        ours = StageTimeout("too slow")
        ours.__cause__ = error
    assert fault_of(ours) == Fault("StageTimeout", Code.BUSY, "too slow", "consumers.engine.pauses.wait")


async def rest() -> None:
    """Wait within code of ours."""
    pauses = Pauses(asyncio.get_running_loop().time)
    pauses.pause("poll", 100.0)
    await pauses.wait(("poll",))


@pytest.mark.parametrize("package", sorted(faults._OURS))
def test_every_package_whose_frames_are_places_is_one_of_ours(package: str) -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]["packages"]
    assert set(packages) - faults._OURS == {"console", "sandbox"}
    assert package in packages
