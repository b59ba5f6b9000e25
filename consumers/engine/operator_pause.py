"""Messages that an operator's pause holds up. They come again without a mark and without costing an attempt."""

from __future__ import annotations

from typing import Final

from consumers.engine.outcomes import Snooze
from consumers.engine.retry import jittered
from messages.bodies import Stage, slot_of
from messages.codec import Message
from tasks.calls.decide import MakeCall, decide
from tasks.context import Services
from tasks.control.pauses import PAUSED, Paused, Target, held_by, look_again_s
from tasks.ledger.records import Accepted

__all__ = ["hold", "pause_of"]

_BEFORE_CALLS: Final = (Stage.CLEAN, Stage.PROMPT, Stage.GENERATE)


async def hold(message: Message, services: Services) -> Snooze | None:
    """Return the snooze of a message that must not begin now; None if it may begin.

    A pause does not apply to a slot with a paid call, which might be lost otherwise.

    Raises:
        services.errors.ObjectsDown: the ledger did not answer.
    """
    header, ledger = message.header, services.ledger
    if header.stage not in _BEFORE_CALLS or not (paused := await services.pauses.current(ledger)):
        return None
    target = _target(Stage(header.stage), await ledger.accepted(header.run_id), paused, services)
    if target is None:
        return None
    slot, now = slot_of(message.body), ledger.now()
    if slot is not None and not isinstance(decide(await ledger.calls(header.run_id, slot), now), MakeCall):
        return None
    return Snooze(jittered(look_again_s(now - paused[target]), services.rng), why=PAUSED)


async def pause_of(stage: Stage, accepted: Accepted | None, services: Services) -> Target | None:
    """Return the vendor or kind whose pause holds up a stage of a run; None if there is none."""
    return _target(stage, accepted, await services.pauses.current(services.ledger), services)


def _target(stage: Stage, accepted: Accepted | None, paused: Paused, services: Services) -> Target | None:
    if accepted is None:
        return None
    recipe = services.recipes.get(accepted.kind)
    vendor = accepted.vendor or (recipe.vendor if recipe else "")
    return held_by(stage, accepted.kind, vendor, paused)
