"""Pauses of vendors and kinds by hand: begin, end, show."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from console.cli.arguments import BadUsage, check_choice, check_kind
from console.cli.operate.tables import age, moment, say_table
from console.cli.operate.work import read_settings
from console.cli.terminal import say
from messages.errors import InvalidKey
from messages.keys import check_id
from recipes.table import RECIPES
from runtime.wiring import open_ledger
from tasks.control.pauses import Change, Pause, Target
from tasks.control.store import begin_pause, end_pause, list_changes, list_pauses

__all__ = [
    "VENDORS",
    "changes_document",
    "check_target",
    "describe_pause",
    "name_target",
    "pause_by_hand",
    "pause_document",
    "read_changes",
    "resume_by_hand",
    "say_paused",
    "show_changes",
]

VENDORS: Final = tuple(
    sorted(
        {recipe.vendor for recipe in RECIPES.values() if recipe.vendor}
        | {recipe.prompt.vendor for recipe in RECIPES.values() if recipe.prompt}
    )
)
"""Vendors that can be paused: of paid calls and of prompts."""

_CHANGES: Final = 20
"""Changes that are shown."""


def name_target(vendor: str, kind: str) -> Target:
    """Return the vendor or kind that was named, also one that this build does not know.

    Raises:
        BadUsage: not exactly one was named, or its name cannot be one.
    """
    if bool(vendor) == bool(kind):
        raise BadUsage("give --vendor or --kind, and not both")
    try:
        return Target("vendor" if vendor else "kind", check_id(vendor or kind, "--vendor" if vendor else "--kind"))
    except InvalidKey as error:
        raise BadUsage(str(error)) from error


def check_target(vendor: str, kind: str) -> Target:
    """Return the vendor or kind that was named.

    Raises:
        BadUsage: not exactly one was named, or this build does not know it.
    """
    target = name_target(vendor, kind)
    if target.of == "kind":
        check_kind(kind)
    else:
        check_choice("--vendor", vendor, VENDORS)
    return target


def pause_by_hand(target: Target, by: str, why: str) -> bool:
    """Pause a vendor or a kind, and print the pause that stands. Returns False if it was paused already.

    Raises:
        messages.errors.ScfWorkersError: the environment cannot be used, or the store failed.
    """

    async def act() -> tuple[Pause, bool, float]:
        async with open_ledger(read_settings(), lambda: os.environ) as services:
            pause, created = await begin_pause(target, by, why, services.ledger)
            return pause, created, services.ledger.now()

    pause, created, now = asyncio.run(act())
    say(f"paused: {describe_pause(pause, now)}" if created else f"was paused already: {describe_pause(pause, now)}")
    return created


def resume_by_hand(target: Target, by: str, why: str) -> bool:
    """End the pause of a vendor or a kind, and print it. Returns False if it was not paused.

    Raises:
        messages.errors.ScfWorkersError: the environment cannot be used, or the store failed.
    """

    async def act() -> tuple[Pause | None, float]:
        async with open_ledger(read_settings(), lambda: os.environ) as services:
            return await end_pause(target, by, why, services.ledger), services.ledger.now()

    pause, now = asyncio.run(act())
    say(f"resumed; it was paused: {describe_pause(pause, now)}" if pause else f"{target} was not paused")
    return pause is not None


def read_changes() -> tuple[list[Pause], list[Change], float]:
    """Read the pauses and the last changes. Returns them, and the store's time.

    Raises:
        messages.errors.ScfWorkersError: the environment cannot be used, or the store failed.
    """

    async def read() -> tuple[list[Pause], list[Change], float]:
        async with open_ledger(read_settings(), lambda: os.environ) as services:
            ledger = services.ledger
            return await list_pauses(ledger), await list_changes(ledger, _CHANGES), ledger.now()

    return asyncio.run(read())


def pause_document(pause: Pause) -> dict[str, Any]:
    """Return a pause as a document."""
    return {**msgspec.structs.asdict(pause), "at": moment(pause.at)}


def describe_pause(pause: Pause, now: float) -> str:
    """Return a pause in words; `now` is seconds since the epoch by the store's clock."""
    return f"{pause.target} for {age(now - pause.at)}, by {pause.by}" + (f": {pause.why}" if pause.why else "")


def say_paused(paused: Sequence[Pause], now: float) -> None:
    """Print a line for each pause."""
    for one in paused:
        say(f"paused: {describe_pause(one, now)}")


def changes_document(paused: Sequence[Pause], changes: Sequence[Change]) -> dict[str, Any]:
    """Return pauses and changes as a document."""
    return {"paused": [pause_document(one) for one in paused], "changes": [pause_document(one) for one in changes]}


def show_changes(paused: Sequence[Pause], changes: Sequence[Change], now: float) -> None:
    """Print what is paused, then the last changes, the newest first."""
    rows = [[moment(one.at), one.action, str(one.target), one.by, one.why] for one in changes]
    say_table(("at", "change", "of", "by", "why"), rows, "change")
    say_paused(paused, now)
    if not paused:
        say("nothing is paused")
