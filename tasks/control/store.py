"""The store of pauses: `control/paused/…`, an object for each, written by operators and read by workers.

An object is created only where none is, so of two operators who pause at once one sees the other's pause. Each change
leaves a record of its own, which is never overwritten.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from messages.keys import CHANGES_PREFIX, PAUSES_PREFIX, change_key
from services.errors import Exists, NotFound
from services.objects.port import Objects
from tasks.control.pauses import Change, Pause, Paused, Target, parse_pause_key
from tasks.ledger.ledger import Ledger
from tasks.ledger.operators import audit_text
from telemetry import logs
from telemetry.events import Event

__all__ = ["begin_pause", "end_pause", "list_changes", "list_pauses", "read_paused"]

_JSON: Final = "application/json"

P = TypeVar("P", bound=Pause)

log = logs.get(__name__)


async def read_paused(objects: Objects) -> Paused:
    """Return the pauses, by one listing.

    Raises:
        services.errors.ObjectsDown: the store did not answer.
    """
    page = await objects.list(PAUSES_PREFIX)
    return {target: item.modified for item in page.items if (target := parse_pause_key(item.key))}


async def list_pauses(ledger: Ledger) -> list[Pause]:
    """Return every pause with its operator and reason, the oldest first.

    Raises:
        services.errors.ObjectsDown: the store did not answer.
    """
    found = [await _read(target, ledger) for target in await read_paused(ledger.objects)]
    return sorted((one for one in found if one), key=lambda one: one.at)


async def list_changes(ledger: Ledger, limit: int) -> list[Change]:
    """Return the last changes, the newest first.

    Raises:
        services.errors.ObjectsDown: the store did not answer.
    """
    page = await ledger.objects.list(CHANGES_PREFIX, limit=limit)
    bodies = [(await ledger.objects.get(item.key)).body for item in page.items]
    return [change for body in bodies if (change := _decoded(body, Change))]


async def begin_pause(target: Target, by: str, why: str, ledger: Ledger) -> tuple[Pause, bool]:
    """Pause a vendor or a kind.

    Args:
        target: the vendor or kind.
        by: name of the operator.
        why: the reason.
        ledger: where it is stored.

    Returns:
        The pause that stands, and False if it was there already.

    Raises:
        services.errors.ObjectsDown: the store did not answer; the pause may be stored.
    """
    now = await ledger.ask_time()
    pause = Pause(of=target.of, name=target.name, by=audit_text(by), why=audit_text(why), at=round(now, 3))
    while True:
        try:
            await ledger.objects.put_new(target.key, msgspec.json.encode(pause), content_type=_JSON)
        except Exists:
            if standing := await _read(target, ledger):
                return standing, False
            # It has ended in between.
        else:
            await _record("pause", pause, ledger)
            return pause, True


async def end_pause(target: Target, by: str, why: str, ledger: Ledger) -> Pause | None:
    """Resume a vendor or a kind. Returns the pause that has ended; None if there was none.

    Args:
        target: the vendor or kind.
        by: name of the operator.
        why: the reason.
        ledger: where it is stored.

    Raises:
        services.errors.ObjectsDown: the store did not answer; the pause may have ended.
    """
    standing = await _read(target, ledger)
    if standing is None:
        return None
    now = await ledger.ask_time()
    end = Pause(of=target.of, name=target.name, by=audit_text(by), why=audit_text(why), at=round(now, 3))
    # The record first: a repeat completes an interrupted change.
    await _record("resume", end, ledger)
    await ledger.objects.delete([target.key])
    return standing


async def _read(target: Target, ledger: Ledger) -> Pause | None:
    try:
        content = await ledger.objects.get(target.key)
    except NotFound:
        return None
    # The pause is in force even if its contents cannot be read, so it must be shown, and must be possible to end.
    unreadable = Pause(
        of=target.of, name=target.name, by="", why="(cannot be read by this build)", at=content.info.modified
    )
    return _decoded(content.body, Pause) or unreadable


def _decoded(body: bytes, kind: type[P]) -> P | None:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


async def _record(action: str, pause: Pause, ledger: Ledger) -> None:
    change = msgspec.convert({**msgspec.structs.asdict(pause), "action": action}, Change)
    await ledger.objects.put_new(change_key(pause.at, ledger.nonce()), msgspec.json.encode(change), content_type=_JSON)
    log.info(
        Event.CONTROL_PAUSED if action == "pause" else Event.CONTROL_RESUMED,
        paused=str(pause.target),
        by=pause.by,
        why=pause.why,
    )
