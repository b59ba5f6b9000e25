"""The clocks of the broker file: due times must not move when the wall clock of the machine is set.

Delays are counted in seconds since the machine began, which run on while it sleeps and cannot be set (CLOCK_BOOTTIME,
clock_gettime(2)); all its processes see the same. They mean nothing after a reboot, which the kernel's boot id shows
(proc(5), /proc/sys/kernel/random/boot_id): the first process of a new boot counts anew from the wall time at which each
message is due, which is stored beside it. A system without such an id keeps to the wall clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["Clocks", "Moment", "boot_id", "machine_clocks", "time_since_boot"]

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_WALL: Final = "wall"
"""Stands for the boot where the system names none: then wall time counts, before a reboot and after it."""


class Moment(NamedTuple):
    """One reading of the clocks."""

    wall: float
    """Seconds since the epoch."""
    steady: float
    """Seconds since the machine began."""
    boot: str
    """Names the boot in which `steady` was read."""


class Clocks(NamedTuple):
    """Where the broker reads the time."""

    wall: Callable[[], float]
    """Seconds since the epoch."""
    steady: Callable[[], float]
    """Seconds since the machine began."""
    boot: str
    """Names the boot."""

    def read(self) -> Moment:
        """The time now."""
        return Moment(self.wall(), self.steady(), self.boot)


def machine_clocks(wall: Callable[[], float]) -> Clocks:
    """The clocks that all processes of this machine share.

    Args:
        wall: seconds since the epoch.
    """
    boot = boot_id()
    return Clocks(wall, wall if boot == _WALL else time_since_boot, boot)


def time_since_boot() -> float:
    """Seconds since the machine began, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """The kernel's name of this boot; `wall` where the system has none."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip() or _WALL
    except OSError:
        return _WALL
