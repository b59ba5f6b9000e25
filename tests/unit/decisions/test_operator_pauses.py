"""Operators' pauses: the messages that they hold up, for how long, and the mapping of targets to keys."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from messages.bodies import Stage
from messages.keys import pause_key
from tasks.control.pauses import Target, held_by, look_again_s, parse_pause_key

NAMES = st.sampled_from(["runninghub", "vod", "model_pose12", "fitting"])
TARGETS = st.builds(Target, st.sampled_from(["vendor", "kind"]), NAMES)
PAUSED = st.dictionaries(TARGETS, st.floats(1e9, 2e9))
BEFORE_CALLS = {Stage.CLEAN, Stage.PROMPT, Stage.GENERATE}


@given(st.sampled_from(list(Stage)), NAMES, NAMES | st.just(""), PAUSED)
def test_only_what_comes_before_a_paid_call_is_held_up(
    stage: Stage, kind: str, vendor: str, paused: dict[Target, float]
) -> None:
    target = held_by(stage, kind, vendor, paused)
    of_kind = Target("kind", kind) in paused and stage in BEFORE_CALLS
    of_vendor = Target("vendor", vendor) in paused and stage is Stage.GENERATE
    assert (target is not None) == (of_kind or of_vendor)
    if target is not None:
        assert target in paused
        assert target.name == (kind if target.of == "kind" else vendor)


@given(st.floats(-1e6, 1e9), st.floats(0, 1e6))
def test_the_look_comes_within_a_minute_and_never_at_once(paused_s: float, more: float) -> None:
    assert 5 <= look_again_s(paused_s) <= look_again_s(paused_s + more) <= 60


@given(TARGETS)
def test_a_target_is_read_back_from_its_key(target: Target) -> None:
    assert parse_pause_key(target.key) == target
    assert target.key == pause_key(target.of, target.name)


@given(st.text(max_size=40))
def test_a_foreign_key_is_no_target(tail: str) -> None:
    found = parse_pause_key(f"control/paused/{tail}")
    assert found is None or tail in {f"vendor/{found.name}", f"kind/{found.name}"}
