"""`scf-workers work`, in a process that hangs once it has begun, or dies whenever it works on a certain task.

The product's code is as it is. Only the marks say a shorter limit, after which their writer is taken for dead.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import threading
from pathlib import Path
from typing import Any, Final, TypeVar

sys.path.insert(0, str(Path(__file__).parents[2]))

import msgspec

import consumers.stages.clean
import runtime.wiring
from consumers.engine.outcomes import Outcome
from messages.bodies import Clean
from messages.codec import Header
from messages.keys import RunId
from tasks.context import Services
from tasks.ledger.ledger import Ledger, Stored
from tasks.ledger.names import RecordBase, RecordName
from tasks.ledger.records import Begun
from tasks.run import Task

N = TypeVar("N", bound=RecordBase)

CONCURRENCY: Final = 4
KILLED: Final = 9
"""Exit status of a process that a message has killed."""


def keep_marks(limit: float, *, hang: bool) -> None:
    """Have marks say this limit, in seconds, and stand still for good after the first of them, if wanted."""
    one_at_a_time = asyncio.Lock()

    class Hasty(Ledger):
        async def write(self, run: RunId, name: RecordName[N], record: N) -> Stored[N]:
            if not isinstance(record, Begun):
                return await super().write(run, name, record)
            short: Any = msgspec.structs.replace(record, limit_s=limit)
            async with one_at_a_time:
                stored = await super().write(run, name, short)
                if hang:
                    stand_still()
            return stored

    runtime.wiring.Ledger = Hasty  # type: ignore[misc]


def stand_still() -> None:
    """Report it, and block for good, with all other work of this process."""
    sys.stdout.write("hanging\n")
    sys.stdout.flush()
    threading.Event().wait()


def die_on(task: str) -> None:
    """Have `clean` end the process when it works on this task."""
    clean = consumers.stages.clean.clean

    async def deadly(header: Header, body: Clean, of: Task, services: Services) -> Outcome:
        if header.task == task:
            os._exit(KILLED)
        return await clean(header, body, of, services)

    consumers.stages.clean.clean = deadly


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--limit", type=float, required=True)
    parser.add_argument("--hang", action="store_true")
    parser.add_argument("--die-on", default="")
    arguments = parser.parse_args()
    keep_marks(arguments.limit, hang=arguments.hang)
    if arguments.die_on:
        die_on(arguments.die_on)
    # Imported only now: the table of stages takes the functions that the modules have at its import.
    from consumers.runners.worker import run_worker

    run_worker(concurrency=CONCURRENCY)


if __name__ == "__main__":
    main()
