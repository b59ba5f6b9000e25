"""`thumbnail/…`: the size asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.cos.ci.geometry import MAX_PARAMETER, thumbnail_size
from sandbox.cos.errors import UnknownOperation

SIDES = st.integers(1, 50_000)
TARGETS = st.integers(1, MAX_PARAMETER)


@pytest.mark.parametrize(
    ("geometry", "size"),
    [
        ("!50p", (500, 250)),
        ("!50px", (500, 500)),
        ("!x50p", (1000, 250)),
        ("200x", (200, 100)),
        ("x200", (400, 200)),
        ("200x200", (200, 100)),
        ("3000x3000", (3000, 1500)),
        ("200x200>", (200, 100)),
        ("3000x3000>", (1000, 500)),
        ("3000x100>", (200, 100)),
        ("3000x3000<", (3000, 1500)),
        ("200x200<", (1000, 500)),
        ("200x200!", (200, 200)),
        ("!200x200r", (400, 200)),
        ("125000@", (500, 250)),
        ("999999999@", (1000, 500)),
        ("20000x", (10_000, 5000)),
        ("1x1", (1, 1)),
    ],
)
def test_each_form_on_a_picture_of_1000_by_500(geometry: str, size: tuple[int, int]) -> None:
    assert thumbnail_size(geometry, 1000, 500) == size


@pytest.mark.parametrize("geometry", ["", "x", "10", "0x", "x0", "!p", "!0p", "10x>", "10x10>>", "-1x2", "1.5x2", "٣x"])
def test_other_forms_are_refused(geometry: str) -> None:
    with pytest.raises(UnknownOperation):
        thumbnail_size(geometry, 1000, 500)


@given(wide=TARGETS, high=TARGETS, width=SIDES, height=SIDES)
def test_shrinking_into_a_box_stays_inside_it_and_never_grows(wide: int, high: int, width: int, height: int) -> None:
    result = thumbnail_size(f"{wide}x{high}>", width, height)
    assert result[0] <= max(1, min(wide, width))
    assert result[1] <= max(1, min(high, height))


@given(wide=TARGETS, high=TARGETS, width=SIDES, height=SIDES)
def test_fitting_into_a_box_touches_it_on_one_side(wide: int, high: int, width: int, height: int) -> None:
    result = thumbnail_size(f"{wide}x{high}", width, height)
    assert result[0] == wide or result[1] == high
    assert result[0] <= wide
    assert result[1] <= high


@given(wide=TARGETS, high=TARGETS, width=SIDES, height=SIDES)
def test_covering_a_box_touches_it_on_one_side(wide: int, high: int, width: int, height: int) -> None:
    result = thumbnail_size(f"!{wide}x{high}r", width, height)
    assert result[0] == wide or result[1] == high
    assert result[0] >= wide
    assert result[1] >= high


@given(area=st.integers(1, 10**9), width=SIDES, height=SIDES)
def test_an_area_is_never_exceeded_unless_a_side_would_vanish(area: int, width: int, height: int) -> None:
    wide, high = thumbnail_size(f"{area}@", width, height)
    assert wide * high <= area or 1 in {wide, high}
