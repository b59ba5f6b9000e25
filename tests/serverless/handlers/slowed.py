"""The handler in the module that SLOWED names; each message takes SLOW_S seconds longer, however fast the machine."""

from __future__ import annotations

import importlib
import os
import time

from telemetry import points

__all__ = ["main_handler"]

main_handler = importlib.import_module(os.environ["SLOWED"]).main_handler


def _reached(name: str) -> None:
    if name == "clean.acked":
        time.sleep(float(os.environ["SLOW_S"]))


points.install(_reached)
