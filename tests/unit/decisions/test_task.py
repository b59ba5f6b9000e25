"""An accepted run, and the messages that follow from one another."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.engine.follow_up import LATE_FLOOR, follow
from consumers.engine.limits import (
    LIMITS,
    MARK_EVERY,
    PREPARE_LIMIT_S,
    PROMPT_MARGIN_S,
    SETTLE_LIMIT_S,
    is_marked,
    limit_of,
    longest_limit_of,
)
from consumers.engine.retry import JITTER
from messages.bodies import Audit, Body, Clean, Collect, Dead, Generate, Job, Notify, Poll, Prompt, Reason, Stage, Wake
from messages.codec import SCHEMA, Header, Priority, decode, encode
from messages.errors import Outage, Permanent
from messages.keys import RunId
from recipes.basic_clean import BASIC_CLEAN, BasicCleanParams
from recipes.model_pose12 import MODEL_POSE12
from recipes.photography import PHOTOGRAPHY
from recipes.recipe import Recipe
from recipes.table import RECIPES
from recipes.video_tryon import VIDEO_TRYON
from services.objects.memory import MemoryObjects
from services.vendors.registry import Vendors
from tasks.context import Services
from tasks.ledger.ledger import Ledger
from tasks.ledger.records import Accepted
from tasks.run import load_task

CREATED = 1_763_888_400_123
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
BODIES: dict[Stage, Body] = {
    Stage.CLEAN: Clean(),
    Stage.PROMPT: Prompt(),
    Stage.AUDIT: Audit(),
    Stage.GENERATE: Generate(),
    Stage.POLL: Poll((Job(1, "j"),), CREATED),
    Stage.COLLECT: Collect(Job(1, "j")),
    Stage.WAKE: Wake("sweep"),
    Stage.NOTIFY: Notify(CREATED),
    Stage.DEAD: Dead(Reason.ATTEMPTS, "poll", "m", "poll", "busy", "E", "f", "o"),
}
TIMELESS = (Stage.NOTIFY, Stage.DEAD)
WORKING = [stage for stage in Stage if stage not in TIMELESS]

RNGS = st.integers(0, 2**32).map(random.Random)


def header(**changes: Any) -> Header:
    plain = Header(SCHEMA, "clean", "u", "t", 1, 2, seq=3, attempt=1, created=CREATED, deadline=600_000)
    return msgspec.structs.replace(plain, priority=Priority.HIGH, kind="model_pose12", traceparent=TRACE, **changes)


@given(
    st.lists(st.tuples(st.sampled_from(WORKING), st.floats(0, 60), st.floats(0, 500)), min_size=1, max_size=12), RNGS
)
def test_the_deadline_is_the_same_to_the_millisecond_in_every_copy(
    steps: list[tuple[Stage, float, float]], rng: random.Random
) -> None:
    current, now = header(), CREATED / 1000
    end = CREATED + 600_000
    for stage, later, delay in steps:
        now += later
        current = follow(current, now, rng, stage=stage, body=BODIES[stage], delay=delay).header
        if now * 1000 < end:
            assert current.created + current.deadline == end
        else:
            # Out of time: no copy may look like one that has no deadline.
            assert 0 < current.deadline <= 1
        assert current.deadline_at is not None


@given(
    stage=st.sampled_from(Stage),
    delay=st.floats(-1e6, 1e6),
    later=st.floats(-1e4, 1e6),
    has_deadline=st.booleans(),
    rng=RNGS,
)
def test_a_delay_is_never_negative_and_ends_at_the_deadline(
    stage: Stage, delay: float, later: float, *, has_deadline: bool, rng: random.Random
) -> None:
    original = header() if has_deadline else header(deadline=0)
    message = follow(original, CREATED / 1000 + later, rng, stage=stage, body=BODIES[stage], delay=delay)
    new = message.header
    assert new.not_before >= 0
    if new.deadline > 1:
        assert new.not_before <= max(new.deadline, LATE_FLOOR * 1000)
    elif delay > 0:
        assert int(delay * 1000) - 1 <= new.not_before <= delay * 1000 * (1 + JITTER)
    # Published messages can be read.
    assert decode(encode(message)) == message


@given(st.floats(0.01, 500), RNGS)
def test_a_delay_is_stretched_by_jitter_and_never_cut_short(delay: float, rng: random.Random) -> None:
    new = follow(header(), CREATED / 1000, rng, stage=Stage.POLL, body=BODIES[Stage.POLL], delay=delay).header
    assert min(int(delay * 1000), 600_000) <= new.not_before <= min(delay * 1000 * (1 + JITTER), 600_000)


def test_a_herd_of_equal_delays_is_spread() -> None:
    # Equal delays stop a topic of a stock Pulsar: tests/pulsar, tests/chaos.
    rng, body = random.Random(7), BODIES[Stage.POLL]
    due = [
        follow(header(), CREATED / 1000, rng, stage=Stage.POLL, body=body, delay=100.0).header.not_before
        for _ in range(1000)
    ]
    assert max(due) - min(due) > 100_000 * JITTER * 0.9
    assert max(Counter(due).values()) < 10


@pytest.mark.parametrize("stage", TIMELESS)
def test_what_brings_a_verdict_to_its_end_has_no_deadline(stage: Stage) -> None:
    new = follow(header(), CREATED / 1000, random.Random(1), stage=stage, body=BODIES[stage], delay=1e6).header
    assert new.deadline == 0
    assert new.not_before >= 1e9
    assert new.deadline_at is None


@pytest.mark.parametrize("stage", Stage)
def test_a_message_stays_with_its_run(stage: Stage) -> None:
    original = header(isolated=True, not_before=5)
    message = follow(original, CREATED / 1000, random.Random(1), stage=stage, body=BODIES[stage], seq=9, attempt=4)
    new = message.header
    assert message.body is BODIES[stage]
    assert (new.stage, new.seq, new.attempt, new.isolated, new.not_before) == (stage.value, 9, 4, False, 0)
    kept = ("version", "user", "task", "step", "run", "priority", "kind", "traceparent")
    assert [getattr(new, name) for name in kept] == [getattr(original, name) for name in kept]


# ---- marks and limits ------------------------------------------------------------------------------------------------

MARKED = {Stage.CLEAN, Stage.PROMPT, Stage.GENERATE, Stage.COLLECT, Stage.NOTIFY}


@pytest.mark.parametrize(("stage", "seq"), [*itertools.product(Stage, range(20))])
def test_which_messages_are_marked(stage: Stage, seq: int) -> None:
    expected = stage in MARKED or (stage in {Stage.POLL, Stage.AUDIT} and seq in {0, 8, 16})
    assert is_marked(header(stage=stage.value, seq=seq)) is expected
    assert MARK_EVERY == 8


@pytest.mark.parametrize("stage", Stage)
def test_every_stage_has_a_limit(stage: Stage) -> None:
    assert limit_of(stage, None) == LIMITS[stage] > 0


def test_a_recipe_says_how_long_prompt_create_and_collect_may_take() -> None:
    slow = msgspec.structs.replace(MODEL_POSE12, create_limit_s=700.0, collect_limit_s=601.0)
    assert limit_of(Stage.GENERATE, slow) == PREPARE_LIMIT_S + 700.0 + SETTLE_LIMIT_S
    assert limit_of(Stage.COLLECT, slow) == 601.0
    assert limit_of(Stage.PROMPT, PHOTOGRAPHY) == 60.0 + PROMPT_MARGIN_S
    assert limit_of(Stage.AUDIT, VIDEO_TRYON) > limit_of(Stage.AUDIT, slow) == 60.0
    assert {limit_of(stage, slow) for stage in (Stage.CLEAN, Stage.POLL, Stage.NOTIFY)} == {60.0, 15.0, 30.0}


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
def test_a_message_whose_run_is_not_read_has_the_longest_limit_of_its_kind(stage: Stage, recipe: Recipe) -> None:
    assert longest_limit_of(stage, recipe) == max(limit_of(stage, form) for form in recipe.forms)
    assert longest_limit_of(stage, None) == LIMITS[stage]


# ---- the task --------------------------------------------------------------------------------------------------------

RUN = RunId("u", "t")


def outside(**recipes: Recipe) -> Services:
    objects = MemoryObjects(bucket="b-1", clock=lambda: 1_000.0)
    ledger = Ledger(objects, clock=lambda: 1_000.0, nonce=lambda: "n")
    nobody: Any = None
    return Services(
        broker=nobody,
        objects=objects,
        bucket="b-1",
        ledger=ledger,
        backend=nobody,
        vendors=Vendors(),
        fetcher=nobody,
        policy=nobody,
        recipes=recipes,
    )


def accepted(kind: str, **params: Any) -> Accepted:
    return Accepted(kind, params, (), created=1.0, deadline=2.0)


async def test_a_task_is_what_was_accepted() -> None:
    out = outside(basic_clean=BASIC_CLEAN)
    await out.ledger.write(RUN, Accepted.at(), accepted("basic_clean", quality=7))
    task = await load_task(RUN, out)
    assert (task.run, task.recipe, task.params) == (RUN, BASIC_CLEAN, BasicCleanParams(quality=7))
    assert task.accepted.deadline == 2.0


async def test_a_run_that_nobody_accepted_is_no_task() -> None:
    with pytest.raises(Permanent, match="u/t/0-0"):
        await load_task(RUN, outside())


@pytest.mark.parametrize(
    "record", [accepted("video_matting"), accepted("basic_clean", sharpen=1), accepted("basic_clean", quality="x")]
)
async def test_what_another_build_accepted_is_waited_for_and_refunds_nobody(record: Accepted) -> None:
    out = outside(basic_clean=BASIC_CLEAN)
    await out.ledger.write(RUN, Accepted.at(), record)
    with pytest.raises(Outage, match="does not know"):
        await load_task(RUN, out)


@settings(deadline=None)
@given(st.floats(1, 1e10))
def test_times_of_a_message_fit_its_fields(now: float) -> None:
    message = follow(header(), now, random.Random(1), stage=Stage.POLL, body=BODIES[Stage.POLL], delay=1.0)
    assert decode(encode(message)).header.created == int(now * 1000)
