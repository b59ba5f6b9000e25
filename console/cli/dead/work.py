"""Work of the commands `scf-workers dead …` with the services of the environment."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
import time
from collections.abc import Callable
from typing import Final

from console.cli.arguments import BadUsage
from console.cli.terminal import warn
from messages.errors import ScfWorkersError
from runtime.settings import Settings, load_settings
from runtime.wiring import open_ledger, open_replay, set_up_logs
from tasks.context import LedgerServices
from tasks.dead_letters.purge import finish_purges, purge_all
from tasks.dead_letters.replay import Request, Step, plan_all, replay_all
from tasks.dead_letters.selection import NoSuchLetter, Selection, select
from tasks.dead_letters.standing import Case

__all__ = ["operator", "progress", "purge_selection", "read_selection", "replay_selection"]

_REPORT_EVERY_S: Final = 5.0


def operator(name: str) -> str:
    """Return the operator's name: the given one, or that of this process's user.

    Raises:
        BadUsage: none was given, and the user has no name.
    """
    if name.strip():
        return name.strip()
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise BadUsage("this user has no name: give one with --by") from error


def read_selection(selection: Selection) -> list[Case]:
    """Read the letters of a selection with their runs.

    Raises:
        console.cli.arguments.BadUsage: an id names no letter, or several.
        messages.errors.ScfWorkersError: the environment cannot be used, or the store failed.
    """

    async def read() -> list[Case]:
        settings = _settings()
        async with open_ledger(settings, lambda: os.environ) as services:
            return await _select(selection, services)

    return asyncio.run(read())


def replay_selection(
    selection: Selection, request: Request, *, acts: bool, report: Callable[[Step], None]
) -> tuple[list[Step], ScfWorkersError | None]:
    """Replay the letters of a selection, or return what a replay would do.

    Args:
        selection: the letters.
        request: the operator's request.
        acts: False for a dry run.
        report: called with each letter that is done with.

    Returns:
        The letters with what was done, and the error that stopped the command, if one did.

    Raises:
        console.cli.arguments.BadUsage: an id names no letter, or several.
        messages.errors.ScfWorkersError: nothing was done: the environment cannot be used, or the store failed.
    """
    return asyncio.run(_replay(selection, request, report) if acts else _plan(selection, request, report))


async def _plan(
    selection: Selection, request: Request, report: Callable[[Step], None]
) -> tuple[list[Step], ScfWorkersError | None]:
    async with open_ledger(_settings(), lambda: os.environ) as services:
        steps = plan_all(await _select(selection, services), request)
    for step in steps:
        report(step)
    return steps, None


async def _replay(
    selection: Selection, request: Request, report: Callable[[Step], None]
) -> tuple[list[Step], ScfWorkersError | None]:
    steps: list[Step] = []
    async with open_replay(_settings(), lambda: os.environ) as services:
        cases = await _select(selection, services)
        try:
            async for step in replay_all(cases, request, services):
                steps.append(step)
                report(step)
        except ScfWorkersError as error:
            return steps, error
    return steps, None


def purge_selection(
    selection: Selection, by: str, why: str, *, acts: bool, report: Callable[[str], None]
) -> tuple[list[Case], ScfWorkersError | None]:
    """Purge the letters of a selection, or return those that a purge would delete.

    Args:
        selection: the letters.
        by: name of the operator.
        why: the reason.
        acts: False for a dry run.
        report: called with the id of each letter that is deleted, or would be.

    Returns:
        The letters, and the error that stopped the command, if one did; purging again goes on.

    Raises:
        console.cli.arguments.BadUsage: an id names no letter, or several.
        messages.errors.ScfWorkersError: nothing was done: the environment cannot be used, or the store failed.
    """
    return asyncio.run(_purge(selection, by, why, report) if acts else _would_purge(selection, report))


async def _would_purge(
    selection: Selection, report: Callable[[str], None]
) -> tuple[list[Case], ScfWorkersError | None]:
    async with open_ledger(_settings(), lambda: os.environ) as services:
        cases = await _select(selection, services)
    for case in cases:
        report(case.letter.id.text)
    return cases, None


async def _purge(
    selection: Selection, by: str, why: str, report: Callable[[str], None]
) -> tuple[list[Case], ScfWorkersError | None]:
    purged: list[Case] = []
    async with open_ledger(_settings(), lambda: os.environ) as services:
        await finish_purges(services.ledger)
        cases = {case.letter.id: case for case in await _select(selection, services)}
        try:
            async for letter in purge_all([case.letter for case in cases.values()], by, why, services.ledger):
                purged.append(cases[letter.id])
                report(letter.id.text)
        except ScfWorkersError as error:
            return purged, error
    return purged, None


def progress(clock: Callable[[], float] = time.monotonic) -> Callable[[int, int], None]:
    """Return the reporter of a long reading: a line on standard error every few seconds.

    Args:
        clock: seconds of any origin.
    """
    last = clock()

    def report(done: int, total: int) -> None:
        nonlocal last
        if clock() - last >= _REPORT_EVERY_S:
            last = clock()
            warn(f"{done} of {total} dead letters read")

    return report


def _settings() -> Settings:
    settings = load_settings(os.environ)
    set_up_logs(sys.stderr, settings, "console.dead", os.environ)
    return settings


async def _select(selection: Selection, services: LedgerServices) -> list[Case]:
    try:
        return await select(selection, services.ledger, services.keys, report=progress())
    except NoSuchLetter as error:
        raise BadUsage(str(error)) from error
