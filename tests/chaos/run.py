"""One run of chaos: a deployment of real processes, its faults, and the judgement of the quota account."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from console.cli.client import Client, Sold, open_client
from console.processes.handlers import HANDLERS
from messages.errors import ScfWorkersError
from producer.cos_trigger import take_event
from producer.sweep import sweep
from runtime.settings import load_settings
from runtime.wiring import open_services, open_sweep, open_trigger
from sandbox.environment import Sandbox
from sandbox.pulsar import LocalPulsar
from sandbox.server import Server
from tasks.context import Services
from tasks.ledger.records import Delivered
from tasks.topics import TOPICS
from tests.chaos.deployment import picture
from tests.chaos.fleet import Fleet
from tests.chaos.judge import judge
from tests.chaos.proxy import Proxies, Upset

__all__ = ["KINDS", "Options", "Report", "play"]

KINDS: Final[Mapping[str, Mapping[str, Any]]] = {"basic_clean": {}, "model_pose12": {}, "photography": {"count": 2}}
"""Kinds on sale, with their parameters."""

_WEIGHTS: Final[Mapping[str, int]] = {"basic_clean": 6, "model_pose12": 3, "photography": 1}
_WORKERS: Final = 3
_VENDOR_S: Final = 1.0
_ROOM: Final = 40
_SWEEP_EVERY_S: Final = 10.0
_SWEEP_OLDER_S: Final = 20.0
"""Seconds after which a run counts as stalled while there are faults: so soon that messages are often doubled."""
_CALM_OLDER_S: Final = 120.0
"""The same after the last fault, longer than a collect takes on a busy machine: doubles would only add to the queue."""
_BROKER_EVERY_S: Final = 45.0
_QUIET_LIMIT_S: Final = 600.0
"""Longest time in seconds without any progress after the last fault: a busy machine is slow, not wrong."""
_SAY_EVERY_S: Final = 15.0

_UPSETS: Final[Mapping[str, Upset]] = {
    "cos": Upset(0.01),
    "runninghub": Upset(0.08, repeats=False),
    "ark": Upset(0.08, repeats=False),
    "tokenhub": Upset(0.08),
    "backend": Upset(0.15),
}
_ADDRESSES: Final = {
    "cos": "COS_ENDPOINT",
    "runninghub": "RUNNINGHUB_URL",
    "ark": "ARK_URL",
    "tokenhub": "TOKENHUB_URL",
    "backend": "BACKEND_URL",
}
"""Service -> the variable that names its address."""


class Options(NamedTuple):
    """Options of a run."""

    broker: str = "sqlite"
    seconds: float = 60.0
    seed: int = 1
    tasks: int = 300
    kinds: tuple[str, ...] = tuple(KINDS)
    """Kinds that are sold. A lost paid call of `photography` stays open for 330 s, of `model_pose12` for 120 s."""


@dataclass
class Report:
    """Result of a run."""

    options: Options
    verdicts: Counter[str] = field(default_factory=Counter)
    """`kind: success`, or `kind: failed code`."""
    acts: Mapping[str, int] = field(default_factory=dict)
    faults: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    calls: int = 0
    """Calls that went through the proxies."""
    callbacks: int = 0
    duplicates: int = 0
    """Callbacks beyond one for each run."""
    paid: int = 0
    charged: int = 0
    refunded: int = 0
    quiet_s: float = 0.0
    """Seconds from the last fault until every task had ended and no message was due."""
    took_s: float = 0.0
    violations: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The figures, for a person."""
        options = self.options
        faults = {f"{name} {kind}": n for name, kinds in self.faults.items() for kind, n in kinds.items()}
        return [
            f"{options.broker}, seed {options.seed}: {options.seconds:g} s of faults, {self.took_s:.0f} s in all",
            f"tasks {options.tasks}: {_counted(self.verdicts)}",
            f"processes: {_counted(self.acts)}",
            f"calls through the proxies {self.calls}, faults {sum(faults.values())}: {_counted(faults)}",
            f"paid calls {self.paid}; callbacks {self.callbacks}, {self.duplicates} of them repeats",
            f"quota: charged {self.charged}, refunded {self.refunded}",
            f"time to quiet: {self.quiet_s:.0f} s",
            *(f"VIOLATION {text}" for text in self.violations),
            f"{len(self.violations)} violations",
        ]


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def play(options: Options, folder: Path) -> Report:
    """Run it in a folder, and judge."""
    with ExitStack() as stack:
        pulsar = LocalPulsar(folder / "pulsar").start() if options.broker == "pulsar" else None
        if pulsar is not None:
            stack.callback(pulsar.wipe)
        return asyncio.run(_Run(options, folder, pulsar).play())


class _Run:
    def __init__(self, options: Options, folder: Path, pulsar: LocalPulsar | None) -> None:
        self._options = options
        self._folder = folder
        self._pulsar = pulsar
        self._rng = random.Random(options.seed)
        self._photo = folder / "photo.jpg"
        self._photo.write_bytes(picture())
        self._sold: list[Sold] = []
        self._pending: int | None = None
        """Tasks without a verdict; None while there are still faults."""
        self._take: Callable[[Any], Any] = lambda _: None

    async def play(self) -> Report:
        started = time.monotonic()
        loop = asyncio.get_running_loop()

        async def event(request: Request) -> Response:
            """Call the trigger as COS does, and repeat a failed call."""
            body = await request.json()
            taken = asyncio.run_coroutine_threadsafe(self._trigger(body), loop)
            return Response(status_code=200 if await asyncio.wrap_future(taken) else 500)

        with Server(Starlette(routes=[Route("/", event, methods=["POST"])])) as events:
            sandbox = Sandbox(
                self._folder / "sandbox",
                HANDLERS,
                event_url=events.url,
                duration_s=_VENDOR_S,
                concurrent=_ROOM,
                # The webhook's processes write to this terminal.
                settings={**self._variables(), "LOG_LEVEL": "ERROR"},
            )
            await asyncio.to_thread(sandbox.start)
            try:
                report = await self._among(sandbox)
            finally:
                await asyncio.to_thread(sandbox.stop)
        report.took_s = time.monotonic() - started
        return report

    def _variables(self) -> dict[str, str]:
        """The settings of the broker."""
        if self._pulsar is None:
            return {}
        return {"BROKER_URL": self._pulsar.url, "BROKER_ADMIN_URL": self._pulsar.admin_url}

    async def _among(self, sandbox: Sandbox) -> Report:
        ports = {name: urlsplit(sandbox.environ[variable]).port or 0 for name, variable in _ADDRESSES.items()}
        proxies = Proxies(ports, _UPSETS, self._options.seed)
        proxies.start()
        environ = {**_through(sandbox.environ, proxies.ports), "LOG_LEVEL": "INFO"}
        fleet = Fleet(_WORKERS, environ, self._folder / "workers.log", self._rng)
        try:
            async with (
                open_client(load_settings(sandbox.environ)) as client,
                open_services(load_settings(sandbox.environ), lambda: sandbox.environ, vendors=False) as services,
                self._functions(environ),
            ):
                fleet.fill()
                saying = asyncio.create_task(self._say(fleet))
                try:
                    await self._disturb(client, fleet, proxies)
                    report = Report(self._options, acts=fleet.acts, faults=proxies.faults())
                    await self._until_quiet(report, sandbox, services, fleet)
                finally:
                    saying.cancel()
                    await asyncio.gather(saying, return_exceptions=True)
                report.calls = sum(proxy.calls for proxy in proxies.of.values())
                if died := [status for status in fleet.died if status != 1 or self._pulsar is None]:
                    report.violations.append(f"workers ended by themselves with status {died}")
                await judge(report, self._sold, sandbox, services)
                return report
        finally:
            await asyncio.to_thread(fleet.close)
            proxies.stop()

    @contextlib.asynccontextmanager
    async def _functions(self, environ: Mapping[str, str]) -> AsyncGenerator[None]:
        """Trigger and sweep, as functions of this process: a process for each call would take most of the machine."""
        settings = load_settings(environ)
        async with open_trigger(settings, lambda: environ) as trigger, open_sweep(settings, lambda: environ) as sweeper:
            self._take = lambda body: take_event(body, trigger)

            async def sweeps() -> None:
                while True:
                    await asyncio.sleep(_SWEEP_EVERY_S)
                    older = _SWEEP_OLDER_S if self._pending is None else _CALM_OLDER_S
                    with contextlib.suppress(ScfWorkersError):
                        await sweep(sweeper, older_than=older)

            sweeping = asyncio.create_task(sweeps())
            try:
                yield
            finally:
                sweeping.cancel()
                await asyncio.gather(sweeping, return_exceptions=True)

    async def _trigger(self, body: Mapping[str, Any]) -> bool:
        try:
            await self._take(body)
        except ScfWorkersError:
            return False
        return True

    async def _disturb(self, client: Client, fleet: Fleet, proxies: Proxies) -> None:
        """Sell all tasks while faults happen."""
        seconds, restart = self._options.seconds, None
        if self._pulsar is not None:
            pulsar = self._pulsar

            def restart() -> None:
                pulsar.kill()
                pulsar.start()

        proxies.upset(active=True)
        async with asyncio.TaskGroup() as group:
            kinds = self._options.kinds
            for _ in range(self._options.tasks):
                kind = self._rng.choices(kinds, [_WEIGHTS[kind] for kind in kinds])[0]
                group.create_task(self._sell(client, kind, self._rng.uniform(0, 0.8 * seconds)))
            group.create_task(fleet.upset(seconds, restart, _BROKER_EVERY_S))
        proxies.upset(active=False)

    async def _sell(self, client: Client, kind: str, after: float) -> None:
        await asyncio.sleep(after)
        sold = await client.buy(f"u-{self._rng.randint(1, 9)}", kind, KINDS[kind])
        self._sold.append(sold)
        await client.upload(sold, (self._photo,))

    async def _until_quiet(self, report: Report, sandbox: Sandbox, services: Services, fleet: Fleet) -> None:
        """Wait until every task has ended, is delivered, and no message is due."""
        started = advanced = time.monotonic()
        before: tuple[int, int] | None = None
        while True:
            await asyncio.sleep(1)
            await asyncio.to_thread(fleet.fill)
            account = await asyncio.to_thread(sandbox.quota_account)
            left = await _stored(services)
            self._pending = sum(task["status"] == "pending" for task in account["tasks"])
            if not self._pending and not left and await self._all_delivered(services):
                break
            if (state := (self._pending, sum(left.values()))) != before:
                before, advanced = state, time.monotonic()
            if time.monotonic() - advanced > _QUIET_LIMIT_S:
                report.violations.append(f"it does not come to rest; messages are stored: {_counted(left)}")
                break
        report.quiet_s = time.monotonic() - started

    async def _all_delivered(self, services: Services) -> bool:
        return all([await services.ledger.read(one.run, Delivered.at()) for one in self._sold])

    async def _say(self, fleet: Fleet) -> None:
        """Print its progress now and then: a run takes minutes."""
        started = time.monotonic()
        while True:
            await asyncio.sleep(_SAY_EVERY_S)
            rest = "" if self._pending is None else f", {self._pending} without a verdict"
            took = f"{time.monotonic() - started:.0f} s"
            sys.stderr.write(f"{took}: {len(self._sold)} sold; {_counted(fleet.acts)}{rest}\n")


def _through(environ: Mapping[str, str], ports: Mapping[str, int]) -> dict[str, str]:
    """The environment whose addresses are those of the proxies."""
    changed = dict(environ)
    for name, variable in _ADDRESSES.items():
        address = urlsplit(environ[variable])
        host = f"127.0.0.1:{ports[name]}"
        changed[variable] = address._replace(netloc=host).geturl()
        changed["FETCH_PRIVATE_HOSTS"] = changed["FETCH_PRIVATE_HOSTS"].replace(address.netloc, host)
    return changed


async def _stored(services: Services) -> dict[str, int]:
    """Topic -> messages that are due or worked on; a delayed one may outlive its run, as slots' last call does."""
    found: dict[str, int] = {}
    for topic in TOPICS:
        backlog = await services.broker.backlog(topic.name, topic.subscription)
        if backlog.ready + backlog.in_flight:
            found[topic.name] = backlog.ready + backlog.in_flight
    return found
