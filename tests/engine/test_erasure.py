"""Erasure of one user's data, over whole tasks on virtual time."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from messages.bodies import Notify, Stage
from messages.errors import InvalidKey
from messages.keys import RunId
from recipes.table import RECIPES
from services.errors import ObjectsDown
from services.vendors.port import JobState
from tasks.context import ErasureServices
from tasks.dead_letters.letters import purged_key
from tasks.dead_letters.plan import Refusal, decide
from tasks.dead_letters.selection import Selection, select
from tasks.ending.cancel import cancel_task
from tasks.erasing.erase import erase_again, erase_user
from tasks.erasing.survey import Survey, survey_of
from tasks.errors import CannotErase
from tasks.ledger.operators import Purged
from tasks.ledger.records import CallResult, DeadLetter
from tests.engine.fault_injector import Died, calls, raises
from tests.engine.harness import Harness
from tests.engine.standins import Plan
from tests.engine.test_prompt import PAID

USER = "user1"
NEIGHBOURS = ("user10", "use", "user1_")
SECRET = "her own words about the photo"


def services(harness: Harness) -> ErasureServices:
    harness.ledger.cache.clear()
    return ErasureServices(
        ledger=harness.ledger, objects=harness.data, chat_models=(harness.chat.model,), recipes=harness.recipes
    )


async def survey(harness: Harness, user: str = USER) -> Survey:
    return await survey_of(user, services(harness))


async def erase(harness: Harness) -> Survey:
    return await erase_user(await survey(harness), "amara", "the user asked", services(harness))


async def stored(harness: Harness) -> dict[str, bytes]:
    """Everything in both buckets."""
    found: dict[str, bytes] = {}
    for objects in (harness.data, harness.ledger.objects):
        for item in (await objects.list("")).items:
            found[item.key] = (await objects.get(item.key)).body
    return found


def of(everything: dict[str, bytes], user: str) -> dict[str, bytes]:
    return {key: body for key, body in everything.items() if f"/{user}/" in key or key.endswith(f"/{user}")}


async def live(harness: Harness) -> list[RunId]:
    """A success, a failure with a dead letter, and a leftover in staging; others have the same."""
    runs: list[RunId] = []
    for user in (USER, *NEIGHBOURS):
        runs.append(await harness.order(params={"prompt": f"{SECRET} of ({user})"}, user=user))
        await harness.drain()
        harness.vendor.plans.append(Plan(end=JobState.FAILED))
        runs.append(await harness.order(params={"prompt": SECRET}, user=user))
        await harness.drain()
        await harness.data.put(f"staging/{user}/t9/0-0/n/raw.jpg", b"left over")
        await harness.data.put(f"source/{user}/t9/task.json", SECRET.encode())
    return runs


@pytest.fixture
def harness() -> Harness:
    return Harness(recipes=RECIPES | {"model_pose12": PAID})


async def test_nothing_but_ids_is_left_of_the_user_and_all_is_left_of_the_others(harness: Harness) -> None:
    good, bad, *_ = await live(harness)
    before = await stored(harness)
    found = await survey(harness)
    assert [folder.prefix for folder in found.folders] == [
        f"{root}/{USER}/" for root in ("input", "source", "staging", "output")
    ]
    assert [folder.objects for folder in found.folders] == [2, 1, 14, 12]
    assert await stored(harness) == before, "a survey only reads"
    left = await erase(harness)
    assert left.empty
    after = await stored(harness)
    for user in NEIGHBOURS:
        assert of(after, user) == of(before, user)
    mine = of(after, USER)
    assert {key.split("/")[0] for key in mine} == {"ledger", "done", "erased"}
    assert not [key for key, body in after.items() if f"({USER})".encode() in body]
    text = b"".join(mine.values()).decode()
    for trace in (SECRET, "input/", "output/", "staging/", "https:", "frame_"):
        assert trace not in text
    assert {key for key in before if key.startswith(f"ledger/{USER}/")} <= set(mine)
    # Late messages, sweeps and second uploads are answered as before.
    assert (await harness.verdict(good)).status == "success"
    assert (await harness.verdict(bad)).status == "failed"
    assert (await harness.records(good))["accepted"]["kind"] == "model_pose12"
    audit = msgspec.json.decode(after[f"erased/{USER}/1"])["record"]
    assert (audit["by"], audit["why"], audit["objects"], audit["entries"]) == ("amara", "the user asked", 29, 2)


async def test_the_cached_text_of_the_user_goes(harness: Harness) -> None:
    await live(harness)
    texts = len((await harness.ledger.objects.list("cache/")).items)
    await erase(harness)
    assert len((await harness.ledger.objects.list("cache/")).items) == texts - 2


async def test_an_erased_task_does_nothing_any_more(harness: Harness) -> None:
    good, bad, *_ = await live(harness)
    await erase(harness)
    heard = len(harness.backend.heard)
    paid = len(harness.vendor.requests)
    harness.engine = harness.new_engine()
    for run in (good, bad):
        await harness.wake(run, "redeliver")
        await harness.wake(run, "sweep")
        await harness.say(run, Stage.NOTIFY, Notify(since=int(harness.now() * 1000)))
    meta = {"kind": "model_pose12", "params": "{}"}
    await harness.data.put(f"input/{USER}/{good.task}/original.jpg", b"again", meta=meta)
    assert await harness.take_in(good) == "ended"
    await harness.drain()
    assert (len(harness.backend.heard), len(harness.vendor.requests)) == (heard, paid)
    assert await harness.outputs(good) == []


async def test_a_letter_whose_purge_has_died_is_emptied_too(harness: Harness) -> None:
    await live(harness)
    cases = await select(Selection(), harness.ledger, harness.out.keys)
    (letter,) = (case.letter for case in cases if case.letter.record and case.letter.record.user == USER)
    purged = Purged("amara", "", harness.now())
    await harness.ledger.write_key(purged_key(letter.id), purged)
    assert (await erase(harness)).empty
    stored = await harness.ledger.read_key(letter.id.key, DeadLetter)
    assert stored is not None
    assert stored.record.detail == ""


async def test_an_erased_task_is_not_replayed(harness: Harness) -> None:
    await live(harness)
    await erase(harness)
    harness.ledger.cache.clear()
    cases = await select(Selection(), harness.ledger, harness.out.keys)
    plans = {case.letter.record.user: decide(case) for case in cases if case.letter.record}
    assert {user: plan.does for user, plan in plans.items() if not plan.acts} == {USER: Refusal.ERASED}


async def test_an_unfinished_task_forbids_it_and_nothing_is_done(harness: Harness) -> None:
    run = await harness.order(user=USER)
    await harness.until("poll")
    before = await stored(harness)
    with pytest.raises(CannotErase, match=rf"unfinished tasks of user1: {run.task}; wait for them, or give --cancel"):
        await erase(harness)
    assert await stored(harness) == before


async def test_a_cancelled_task_is_erased_once_the_backend_knows(harness: Harness) -> None:
    run = await harness.order(user=USER)
    delivery, consumer = await harness.until("poll")
    await cancel_task(run, harness.out)
    with pytest.raises(CannotErase, match="let the backend acknowledge their verdicts"):
        await erase(harness)
    await consumer.release(delivery)
    await harness.drain()
    assert (await erase(harness)).empty
    assert harness.state(run) == ("failed", 1, 1)


async def test_a_bucket_with_versions_is_refused(harness: Harness) -> None:
    await live(harness)
    harness.data._keeps_versions = True
    before = await stored(harness)
    with pytest.raises(CannotErase, match="COS_BUCKET: deleted data would stay there"):
        await erase(harness)
    assert await stored(harness) == before


@pytest.mark.parametrize("user", ["", "-", "..", "user1/", "user1/../user2", "a b", "用户", "x" * 65, "user1\n"])
async def test_a_name_that_no_user_can_have_is_refused_before_anything_is_read(harness: Harness, user: str) -> None:
    harness.injector.seen.clear()
    with pytest.raises(InvalidKey):
        await survey(harness, user)
    assert harness.injector.seen == []


async def test_what_a_slow_worker_writes_afterwards_is_erased_by_the_next_erasure(harness: Harness) -> None:
    """A call that was at work when its run was cancelled and erased writes its results when they come."""
    good, *_ = await live(harness)
    for n in (1, 2):
        assert (await erase(harness)).empty
        await asyncio.sleep(60)
        late = CallResult(("https://files.example/late.png",))
        await harness.ledger.write(good, CallResult.at(1, n + 1), late)
        assert (await survey(harness)).records == 1
    assert (await erase(harness)).empty
    assert (await survey(harness)).empty
    assert "late.png" not in b"".join(of(await stored(harness), USER).values()).decode()


@pytest.mark.parametrize("patience", [0.0, 60.0])
async def test_an_erasure_waits_for_workers_that_still_write(harness: Harness, patience: float) -> None:
    """A picture comes after its folder was emptied."""
    await live(harness)
    late = f"staging/{USER}/t1/0-0/nonce/late.jpg"

    async def come() -> None:
        await harness.data.put(late, b"\xff\xd8\xff late")

    harness.injector.strike("ledger.put_new .*/erased$", calls(come))
    left = await erase(harness)
    assert not left.empty
    left = await erase_again(left, "amara", "", services(harness), patience_s=patience)
    assert left.empty == bool(patience)
    assert ((await survey(harness)).empty, late in await stored(harness)) == (bool(patience), not patience)


async def test_killed_at_any_effect_it_goes_on_when_it_is_begun_again(harness: Harness) -> None:
    """Each write and deletion of an erasure in turn is the last thing that a process does."""
    killed = 0
    for number in range(100):
        user = f"user{number}x"
        await harness.order(params={"prompt": SECRET}, user=user)
        await harness.drain()
        harness.vendor.plans.append(Plan(end=JobState.FAILED))
        await harness.order(params={"prompt": SECRET}, user=user)
        await harness.drain()
        harness.injector.strike(r"(put|put_new|delete) ", *[_nothing] * number, _die, done=bool(number % 2))
        try:
            await erase_user(await survey(harness, user), "amara", "", services(harness))
            harness.injector.clear()
            break
        except Died:
            killed += 1
        harness.injector.clear()
        left = await erase_user(await survey(harness, user), "amara", "", services(harness))
        assert left.empty
        assert SECRET not in b"".join(of(await stored(harness), user).values()).decode()
    assert killed > 20


async def _nothing() -> None:
    await asyncio.sleep(0)


async def _die() -> None:
    raise Died


async def test_a_store_that_fails_once_is_asked_again(harness: Harness) -> None:
    await live(harness)
    harness.injector.strike(r"(put|delete) ", raises(ObjectsDown("503")))
    assert (await erase(harness)).empty


async def test_a_record_that_this_build_cannot_read_keeps_its_existence_alone(harness: Harness) -> None:
    good, *_ = await live(harness)
    key = f"ledger/{USER}/{good.task}/0-0/of_a_newer_build"
    await harness.ledger.objects.put(key, b'{"nonce":"n","record":{"text":"hers"}}')
    assert (await erase(harness)).empty
    assert (await harness.ledger.objects.get(key)).body == b'{"nonce":"n","record":{}}'
