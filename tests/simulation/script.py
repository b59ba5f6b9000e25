"""A seed's decisions before a history begins: the processes, the tasks on sale, and the possible faults."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import msgspec

from messages.codec import Priority
from messages.codes import Code
from recipes.basic_clean import BASIC_CLEAN
from recipes.model_pose12 import MODEL_POSE12, ModelPose12Params
from recipes.recipe import Recipe
from services.vendors.port import JobState
from tests.engine.standins import Plan
from tests.simulation.standins import EVER

POSES: Final = 3
RUNNINGHUB: Final = "runninghub"
INSTANT: Final = "instant"
GUARDED: Final = "vod"
UPLOAD_LIMIT_S: Final = 900.0
_SLOW_S: Final = 600.0
"""Seconds beyond which a job may cost its run the deadline."""
MARGIN_S: Final = 16.0
"""Seconds that a slow answer may add to a vendor's own."""

MOST_SLOTS: Final = 4
_LAG_S: Final = 60.0
"""Seconds of a list's lag beyond which a call may count as unknown before its job is listed."""
_LONG_S: Final = 400.0
_EARLY_HINT_S: Final = -150.0
"""Seconds from a job's end to the call of the vendor, when a call without an answer counts as unknown already."""


class SeveralParams(ModelPose12Params, frozen=True):
    """Parameters of a kind with several slots."""

    slots: int = MOST_SLOTS
    enough: int = 1


def _slots(params: SeveralParams) -> int:
    return params.slots


def _enough(params: SeveralParams, slots: int) -> int:
    return min(params.enough, slots)


_SEVERAL: Final = msgspec.structs.replace(
    MODEL_POSE12,
    kind="several_jobs",
    params=SeveralParams,
    count=1,
    slots=_slots,
    enough=_enough,
    last_call_s=500.0,
)

RECIPES: Final[Mapping[str, Recipe]] = MappingProxyType(
    {
        recipe.kind: recipe
        for recipe in (
            BASIC_CLEAN,
            msgspec.structs.replace(MODEL_POSE12, count=POSES),
            msgspec.structs.replace(MODEL_POSE12, kind="instant_pose", vendor=INSTANT, synchronous=True, count=1),
            msgspec.structs.replace(
                MODEL_POSE12, kind="guarded_pose", vendor=GUARDED, count=1, values=lambda _: {"prompt": "海边的模特"}
            ),
            _SEVERAL,
            msgspec.structs.replace(_SEVERAL, kind="several_at_once", vendor=INSTANT, synchronous=True),
        )
    }
)
"""Kinds on sale: real ones, with fewer results; and kinds with several slots, with a vendor that answers with the
results, or with one that guards its creates by the call's identity."""

_KINDS: Final = ("basic_clean", "model_pose12", "model_pose12", "instant_pose", "several_jobs", "several_at_once")

FAMILIES: Final = (
    "crash",
    "freeze",
    "clock",
    "store",
    "broker",
    "vendor",
    "files",
    "backend",
    "webhook",
    "upload",
    "cancel",
    "build",
    "deploy",
    "killer",
)
"""Kinds of faults; a history has some of them."""


@dataclass
class Sold:
    """A task, and the behaviour of the services for it."""

    id: str
    user: str
    kind: str
    at: float
    """When it is sold, virtual seconds."""
    priority: Priority
    upload_after: float
    """Seconds until its photo is there; infinite for never."""
    events: tuple[float, ...]
    """Seconds after the upload at which an event of it arrives."""
    plans: list[Plan]
    """Plans of the jobs of each slot."""
    answers: list[list[str]]
    """Answers to the first creates of each slot."""
    webhooks: tuple[float, ...]
    """Seconds after a job's end at which the vendor calls."""
    params: Mapping[str, Any] = field(default_factory=dict)
    violation: bool = False
    blocked: int = 0
    """Number of the result that the audit blocks, from 1; 0 for none."""
    killer: str = ""
    """A place that kills its machine, each time."""
    loses_poll: bool = False
    """The broker loses the first look at its job, and the vendor never calls: only the sweep finds the run."""
    late_letter: bool = False
    """The answer of its first call is lost, the vendor calls when that call counts as unknown already, and the dead
    letter about it comes later still: the job is known by then, and works."""
    lag: float = 0.0
    """Seconds until the list of a vendor that has one shows its job."""
    cancel_after: float = math.inf
    backend_cancel_after: float = math.inf
    forget_after: float = math.inf
    replaced_after: float = math.inf
    """Seconds after the upload at which its photo is replaced by another."""

    @property
    def may_fail_with(self) -> frozenset[str]:
        """Codes that its own part of the script may end it with."""
        codes: set[str] = {plan.code for plan in self.plans if plan.end is JobState.FAILED}
        answers = {answer for each in self.answers for answer in each}
        if any(plan.files is not None for plan in self.plans):
            codes.add(Code.INCOMPLETE_RESULTS)
        slowest = max(plan.within for plan in self.plans)
        if slowest > _SLOW_S:
            codes.add(Code.TIMEOUT)
        recipe = RECIPES[self.kind]
        too_long = recipe.synchronous and slowest > recipe.create_limit_s - MARGIN_S
        if too_long or self._loses_calls:
            codes.add(Code.VENDOR_UNKNOWN)
        if "refused" in answers:
            codes.add(Code.VENDOR_REFUSED)
        if self.violation or self.blocked:
            codes.add(Code.CONTENT_VIOLATION)
        if self.killer:
            codes |= {Code.INTERNAL, Code.BUSY, Code.TIMEOUT}
        if not math.isinf(self.cancel_after):
            codes.add(Code.CANCELLED)
        if math.isinf(self.upload_after) or not self.events:
            codes |= {Code.NOT_UPLOADED, Code.TIMEOUT}
            if recipe.vendor == INSTANT:
                # At the upload limit an older build may be the one that finds it.
                codes.add(Code.UNKNOWN_KIND)
        if not math.isinf(self.replaced_after):
            codes.add(Code.INPUT_CHANGED)
        return frozenset(codes)

    @property
    def _loses_calls(self) -> bool:
        """True if the outcome of a call stays unknown, with no other fault."""
        if RECIPES[self.kind].vendor == GUARDED:
            return self.lag > _LAG_S or any(each.count("unheard") > 1 for each in self.answers)
        return any({"lost", "unheard"} & set(each) for each in self.answers)


@dataclass
class Script:
    """One history before it happens."""

    seed: int
    rng: random.Random
    families: frozenset[str]
    workers: int
    concurrency: int
    user_cap: int
    all_topics: bool
    rate: float
    """Chance of a fault at an effect."""
    budget: int
    """Faults at effects, at most."""
    calm_at: float
    """Virtual seconds from which on nothing goes wrong any more."""
    room: int
    knows_dead_holders: bool
    """True if the broker can report that a message's earlier holder is dead."""
    tasks: list[Sold] = field(default_factory=list)

    def __str__(self) -> str:
        kinds = ", ".join(f"{task.id} {task.kind} of {task.user}" for task in self.tasks)
        return (
            f"seed {self.seed}: {self.workers} workers of {self.concurrency} permits a group, user cap {self.user_cap},"
            f" room for {self.room} jobs; calm from {self.calm_at:.0f} s on;"
            f" faults: {', '.join(sorted(self.families)) or 'none'}\n  tasks: {kinds}"
        )


def write_script(seed: int) -> Script:
    """Decide everything that a seed decides."""
    rng = random.Random(seed)
    likely = rng.choice((0.0, 0.2, 0.4, 0.7))
    families = frozenset(family for family in FAMILIES if rng.random() < likely)
    script = Script(
        seed=seed,
        rng=rng,
        families=families,
        workers=rng.choice((2, 2, 3)),
        concurrency=rng.choice((1, 2, 2, 4)),
        user_cap=rng.choice((0, 0, 1, 2)),
        all_topics=rng.random() < 0.15,
        rate=rng.choice((0.003, 0.01, 0.03)),
        budget=rng.choice((4, 12, 30)),
        calm_at=rng.uniform(300.0, 1500.0) if families else 0.0,
        room=rng.choice((1, 2, 4, 8)),
        knows_dead_holders=rng.random() < 0.5,
    )
    count = rng.choice((2, 3, 3, 5, 8))
    script.tasks = [_sold(n, script) for n in range(1, count + 1)]
    return script


def _sold(number: int, script: Script) -> Sold:
    rng, families = script.rng, script.families
    kind = rng.choice(_KINDS)
    several = kind.startswith("several")
    slots = rng.randint(2, MOST_SLOTS) if several else 1
    late = "upload" in families and rng.random() < 0.3
    sold = Sold(
        id=f"task{number:02d}",
        user=f"user{rng.randint(1, 3)}",
        kind=kind,
        at=rng.choice((0.0, rng.uniform(0, 300))),
        priority=rng.choice(tuple(Priority)) if script.all_topics else Priority.NORMAL,
        upload_after=rng.choice((math.inf, rng.uniform(0, 600))) if late else rng.uniform(0, 5),
        events=_events(rng, odd="upload" in families),
        plans=[_plan(rng, RECIPES[kind], odd="vendor" in families) for _ in range(slots)],
        answers=[_answers(rng, odd="vendor" in families) for _ in range(slots)],
        webhooks=_webhooks(rng, odd="webhook" in families),
    )
    if several:
        sold.params = {"slots": slots, "enough": rng.randint(1, slots)}
        sold.blocked = rng.randint(1, slots) if "vendor" in families and rng.random() < 0.15 else 0
    if "vendor" in families and rng.random() < 0.08:
        sold.violation = True
    has_jobs = RECIPES[kind].vendor == RUNNINGHUB
    if "killer" in families and has_jobs and rng.random() < 0.2:
        sold.killer = rng.choice(("objects.process", "objects.put staging/"))
    if "broker" in families and has_jobs and random.Random(f"{script.seed} {number}").random() < 0.15:
        sold.loses_poll, sold.webhooks = True, ()
    if "broker" in families and has_jobs and random.Random(f"letter {script.seed} {number}").random() < 0.15:
        sold.late_letter, sold.loses_poll, sold.webhooks = True, False, (_EARLY_HINT_S,)
        sold.plans[0], sold.answers[0] = Plan(looks=EVER, within=_LONG_S), ["lost"]
    if "cancel" in families and rng.random() < 0.25:
        sold.cancel_after = rng.choice((rng.uniform(0, 5), rng.uniform(0, 400)))
    if "cancel" in families and rng.random() < 0.15:
        sold.backend_cancel_after = rng.uniform(0, 400)
    if "backend" in families and rng.random() < 0.15:
        sold.forget_after = rng.uniform(60, 900)
    if "upload" in families and rng.random() < 0.05:
        sold.replaced_after = rng.uniform(0, 30)
    if kind == "model_pose12" and not (sold.killer or sold.loses_poll or sold.late_letter):
        _guard(sold, script)
    return sold


def _guard(sold: Sold, script: Script) -> None:
    """Perhaps sell it of the vendor that guards its creates; decided apart: the other tasks stay as they are."""
    rng = random.Random(f"guarded {script.seed} {sold.id}")
    if rng.random() < 0.5:
        return
    sold.kind, sold.webhooks = "guarded_pose", ()
    if "vendor" in script.families and rng.random() < 0.6:
        sold.answers = [rng.choice((["lost"], ["unheard"], ["unheard", "unheard"], ["lost", "lost"], ["full", "lost"]))]
        sold.lag = rng.choice((0.0, 0.0, 5.0, 30.0, 55.0, 90.0, math.inf))


def _events(rng: random.Random, *, odd: bool) -> tuple[float, ...]:
    if not odd or rng.random() < 0.5:
        return (rng.uniform(0, 2),)
    return rng.choice(((), (0.0, 0.0), (rng.uniform(0, 5), rng.uniform(0, 300)), (rng.uniform(0, 500),)))


def _plan(rng: random.Random, recipe: Recipe, *, odd: bool) -> Plan:
    plan = Plan(looks=EVER, within=rng.uniform(1, 60) if recipe.synchronous else rng.uniform(5, 150))
    if not odd:
        return plan
    luck = rng.random()
    if recipe.synchronous:
        plan.within = rng.choice((85.0, 120.0)) if luck < 0.1 else plan.within
    elif luck < 0.06:
        plan.end = JobState.FAILED
    elif luck < 0.1:
        plan.files = rng.choice((0, recipe.count - 1, recipe.count + 1))
    elif luck < 0.16:
        plan.within = math.inf
    elif luck < 0.24:
        plan.within = rng.choice((80.0, 300.0, 900.0))
    return plan


def _answers(rng: random.Random, *, odd: bool) -> list[str]:
    if not odd or rng.random() < 0.7:
        return []
    return rng.choice((["full"], ["full", "full"], ["lost"], ["lost"], ["unheard"], ["refused"], ["full", "lost"]))


def _webhooks(rng: random.Random, *, odd: bool) -> tuple[float, ...]:
    if not odd:
        return (rng.uniform(0, 2),)
    return rng.choice(((), (0.0, 0.0), (-rng.uniform(1, 20),), (rng.uniform(100, 600),), (0.0, rng.uniform(0, 900))))
