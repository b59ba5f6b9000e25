"""Process that `bench.in_flight` measures: a pump with the real stage `poll`, and a slow vendor.

The ledger is in memory, so the records of the tasks' marks are included in the measured memory.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from typing import cast

from bench.environment import TOPIC, build_pump, build_services, poll_message
from consumers.engine.outcomes import Leave, Outcome
from consumers.engine.stage import of_task_if_marked
from consumers.stages.poll import poll
from messages.bodies import Poll, Stage
from messages.codec import Message
from messages.keys import RunId
from services.vendors.port import JobState, JobStatus, Vendor
from tasks.context import Services
from tasks.ledger.records import Accepted, InputRef, Intent, JobId
from tasks.run import Task
from telemetry import logs
from transport import open_broker, options_of

__all__ = ["main"]

_AT_ONCE = 500


class SlowVendor:
    """Vendor whose jobs all take the same time after the first query.

    Args:
        seconds: that time.
    """

    name = "runninghub"
    result_hosts: frozenset[str] = frozenset()

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.until = 0.0
        self.polls = 0

    async def query(self, job_id: str, *, kind: str = "") -> JobStatus:  # noqa: ARG002 - the port's signature
        """Return the state of a job."""
        self.polls += 1
        done = time.time() >= self.until
        return JobStatus(JobState.SUCCESS if done else JobState.WORKING)

    def begin(self) -> None:
        """Start all jobs."""
        self.until = time.time() + self._seconds


async def _accept(services: Services, numbers: Sequence[int]) -> None:
    now = time.time()
    for number in numbers:
        record = Accepted(
            kind="model_pose12",
            params={},
            inputs=(InputRef(f"input/u-1024/t{number}/original.jpg", "etag", 1),),
            created=now,
            deadline=now + 3600,
            traceparent="",
        )
        run = RunId("u-1024", f"t{number}")
        await services.ledger.write(run, Accepted.at(), record)
        await services.ledger.write(run, Intent.at(1, 1), Intent("runninghub", 120.0))
        await services.ledger.write(run, JobId.at(1, 1), JobId(f"job{number}"))


async def _measure(url: str, admin_url: str, namespace: str, count: int, vendor_s: float) -> dict[str, float]:
    variables = {"BROKER_ADMIN_URL": admin_url, "BROKER_NAMESPACE": namespace}
    broker = await open_broker(options_of(url, lambda name: variables.get(name, "")))
    vendor = SlowVendor(vendor_s)
    out = build_services(broker, (cast("Vendor", vendor),), vendor_s)
    left = count
    done = asyncio.Event()

    async def collect(_message: Message, _task: Task | None, _out: Services) -> Outcome:
        nonlocal left
        left -= 1
        if not left:
            done.set()
        return Leave()

    pump = build_pump(
        out, {Stage.POLL: of_task_if_marked(Poll, poll), Stage.COLLECT: collect}, concurrency=64, prefetch=0
    )
    running = asyncio.create_task(pump.run())
    gc.collect()
    idle = _rss_mb()
    started, cpu = time.perf_counter(), time.process_time()
    await _accept(out, range(count))
    vendor.begin()
    for first in range(0, count, _AT_ONCE):
        wave = range(first, min(first + _AT_ONCE, count))
        await asyncio.gather(*(broker.publish(TOPIC, poll_message(n, seq=0, deadline_s=3600)) for n in wave))
    await done.wait()
    found = {
        "count": count,
        "wall_s": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu,
        "polls": vendor.polls,
        "idle_mb": idle,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    pump.stop()
    await running
    await broker.close()
    return found


def _rss_mb() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - a file of the kernel's
        return int(file.read().split()[1]) * resource.getpagesize() / (1 << 20)


def main(url: str, admin_url: str, namespace: str, count: str, vendor_s: str) -> None:
    """Measure once and print JSON."""
    logs.setup(open(os.devnull, "w", encoding="utf-8"), "INFO", "bench")  # noqa: PTH123, SIM115 - for good
    print(json.dumps(asyncio.run(_measure(url, admin_url, namespace, int(count), float(vendor_s)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
