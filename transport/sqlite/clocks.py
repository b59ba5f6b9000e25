"""Clocks of the broker file: setting the machine's wall clock must not move due times.

Delays are measured in seconds since boot: this clock runs during sleep, cannot be set, and is the same for all
processes (CLOCK_BOOTTIME, clock_gettime(2)). Its values are meaningless after a reboot. The kernel's boot id reveals a
reboot (proc(5), /proc/sys/kernel/random/boot_id); the first process of a new boot then recomputes every due time from
the wall time stored beside it. A system without a boot id uses the wall clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["Clocks", "Moment", "boot_id", "machine_clocks", "time_since_boot"]

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_WALL: Final = "wall"
"""Placeholder for the boot id on a system without one; due times are then wall times."""


class Moment(NamedTuple):
    """A reading of the clocks."""

    wall: float
    """Seconds since the epoch."""
    steady: float
    """Seconds since boot."""
    boot: str
    """Id of the boot in which `steady` was read."""


class Clocks(NamedTuple):
    """Clocks that the broker reads."""

    wall: Callable[[], float]
    """Seconds since the epoch."""
    steady: Callable[[], float]
    """Seconds since boot."""
    boot: str
    """Id of the current boot."""

    def read(self) -> Moment:
        """Read both clocks."""
        return Moment(self.wall(), self.steady(), self.boot)


def machine_clocks(wall: Callable[[], float]) -> Clocks:
    """Return the clocks that all processes of this machine share.

    Args:
        wall: returns seconds since the epoch.
    """
    boot = boot_id()
    return Clocks(wall, wall if boot == _WALL else time_since_boot, boot)


def time_since_boot() -> float:
    """Return the seconds since boot, including sleep."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Return the kernel's id of this boot, or `wall` on a system without one."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip() or _WALL
    except OSError:
        return _WALL
