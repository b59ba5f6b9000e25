"""Room for a paid call: a key of the vendor that may make it, asked of the vendor before anything is stored or paid.

The run that has waited longest goes first. A full key rests, and the next one is asked at once.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final

import msgspec

from services.errors import VendorDown, VendorFull, VendorMissing
from services.repeat import repeated
from services.vendors.port import Vendor, VendorKey, key_of
from tasks.calls.jobs import vendor_of
from tasks.calls.lines import Waiter, room_delay
from tasks.calls.spend import Spent, until_tomorrow
from tasks.context import Services
from telemetry import logs, metrics
from telemetry.events import Event
from telemetry.instruments import Metric

__all__ = ["Capped", "Full", "Held", "find_room", "full_at_create"]

_NEXT_CALL_S: Final = 2.0
"""Seconds until a run asks again if this process makes all its allowed calls with every key."""

_OTHER_KEY_S: Final = 1.0
"""Seconds until a run whose call a full key did not accept comes again to use another key."""

_CAP_AGAIN_S: Final = 900.0
"""Seconds until a run that met the daily cap asks again: a person may raise it."""

log = logs.get(__name__)


class Full(msgspec.Struct, frozen=True):
    """No room: the run waits in its vendor's line."""

    delay: float
    """Seconds until it asks again."""
    keys: tuple[VendorKey, ...] = ()
    """Keys that were found full, or in use; the others were so before, or were not asked."""
    pause: float = 0.0
    """Seconds for which these keys rest."""


class Capped(msgspec.Struct, frozen=True):
    """The vendor's calls of this day are made."""

    delay: float
    """Seconds until it may be asked again: the next day, or a while, because a cap may be raised."""


class Held:
    """Room for one call with a vendor's key: a block in which it is made.

    After the block the key is free for another call, and so is the call's number of the day if it was not accepted.

    Args:
        vendor: the client.
        services: the bundle of services.
        spent: number of the call; None without a cap.
    """

    def __init__(self, vendor: Vendor, services: Services, spent: Spent | None) -> None:
        self.vendor = vendor
        self._services = services
        self._spent = spent
        self._sent = False

    def __enter__(self) -> Vendor:
        return self.vendor

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._services.lines.give_back(key_of(self.vendor))
        if self._spent is not None and not self._sent:
            self._services.spend.give_back(self._spent)

    def sent(self) -> None:
        """Record that the call is about to be sent: from now on it may be paid."""
        self._sent = True

    def not_accepted(self) -> None:
        """Record that the vendor did not accept the call: nothing is paid."""
        self._sent = False


def _rest_of(error: VendorFull | VendorDown, waiter: Waiter, services: Services) -> float:
    """Return the seconds for which a key rests that was found full, or that gave no usable answer."""
    alone = room_delay(waiter.age(services.ledger.now()), 0, services.policy.vendor_full_pause_s)
    return max(error.retry_after or 0.0, alone)


async def find_room(name: str, waiter: Waiter, services: Services) -> Held | Full | Capped:
    """Find a key that may make a call now.

    Args:
        name: of the vendor.
        waiter: who needs it.
        services: the bundle of services.

    Raises:
        services.errors.VendorMissing: no key of the vendor is here that may make calls.
        services.errors.VendorDown: no key had room, and the last one that was asked gave no usable answer.
        services.errors.ObjectsDown: it is not known whether the day's calls are made.
    """
    vendor_of(name, services.vendors)
    keys, lines = services.vendors.keys(name), services.lines
    if not keys:
        raise VendorMissing(f"every key of {name!r} is draining: none may make a new call")
    if services.spend.is_over(name, services.policy.daily_calls.get(name), services.ledger.now()):
        return _capped(name, services)
    if ahead := lines.ahead(name, waiter, services.ledger.now()):
        return Full(_wait(name, waiter, services, ahead=ahead))
    tried: dict[VendorKey, VendorFull | VendorDown] = {}
    share = services.vendors.share(name)
    while key := lines.take([key for key in keys if key not in tried], services.ledger.now(), share):
        error = await _ask(key, services)
        if error is None:
            lines.had_room(name, waiter)
            return await _within_cap(key, services)
        tried[key] = error
        _rest(key, _rest_of(error, waiter, services), services)
    return _none(name, waiter, keys, tried, services)


async def _within_cap(key: VendorKey, services: Services) -> Held | Capped:
    """Take a number of the day for a call with a key that has room, and give the key back if there is none."""
    cap, spent = services.policy.daily_calls.get(key.vendor), None
    granted = False
    try:
        if cap is not None:
            spent = await services.spend.take(key.vendor, cap, services.ledger.now(), services.ledger)
        granted = cap is None or spent is not None
    finally:
        if not granted:
            services.lines.give_back(key)
    return (
        Held(vendor_of(key.vendor, services.vendors, key.label), services, spent)
        if granted
        else _capped(key.vendor, services)
    )


def _capped(name: str, services: Services) -> Capped:
    log.error(Event.VENDOR_CAPPED, vendor=name)
    metrics.count(Metric.VENDOR_CAPPED, vendor=name)
    return Capped(min(_CAP_AGAIN_S, until_tomorrow(services.ledger.now())))


def full_at_create(key: VendorKey, error: VendorFull, waiter: Waiter, services: Services) -> Full:
    """Return how a run waits whose call was not accepted because the key is full: it may use another at once."""
    now, name = services.ledger.now(), key.vendor
    _rest(key, _rest_of(error, waiter, services), services)
    if any(other != key and not services.lines.is_resting(other, now) for other in services.vendors.keys(name)):
        return Full(_OTHER_KEY_S, (key,), _rest_of(error, waiter, services))
    services.lines.was_full(name)
    delay = _wait(name, waiter, services, least=error.retry_after or 0.0)
    return Full(delay, (key,), delay)


def _rest(key: VendorKey, seconds: float, services: Services) -> None:
    """Make no call with a key for some seconds, where its vendor has another that may be asked meanwhile."""
    if len(services.vendors.keys(key.vendor)) > 1:
        services.lines.rest(key, services.ledger.now(), seconds)


async def _ask(key: VendorKey, services: Services) -> VendorFull | VendorDown | None:
    """Ask the vendor for room with a key that was taken, and give it back if there is none."""
    granted = False
    try:
        await repeated(vendor_of(key.vendor, services.vendors, key.label).check_room, services.rng)
        granted = True
    except (VendorFull, VendorDown) as error:
        return error
    finally:
        if not granted:
            services.lines.give_back(key)
    return None


def _none(
    name: str,
    waiter: Waiter,
    keys: tuple[VendorKey, ...],
    tried: dict[VendorKey, VendorFull | VendorDown],
    services: Services,
) -> Full:
    errors = tuple(tried.values())
    if errors and all(isinstance(error, VendorDown) for error in errors):
        raise errors[-1]
    if errors:
        services.lines.was_full(name)
        delay = _wait(name, waiter, services, least=min(error.retry_after or 0.0 for error in errors))
        return Full(delay, tuple(tried), delay)
    now = services.ledger.now()
    in_use = tuple(key for key in keys if not services.lines.is_resting(key, now))
    return Full(_wait(name, waiter, services), in_use, _NEXT_CALL_S if in_use else 0.0)


def _wait(name: str, waiter: Waiter, services: Services, *, ahead: int = 0, least: float = 0.0) -> float:
    """Keep the run's place; return the seconds until it asks again, the fewer the longer it has waited."""
    now = services.ledger.now()
    delay = max(least, room_delay(waiter.age(now), ahead, services.policy.vendor_full_pause_s))
    services.lines.wait(name, waiter, now, delay)
    return delay
