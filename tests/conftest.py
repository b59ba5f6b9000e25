"""Runs coroutine tests, each on a loop of its own, with a detector for calls that block the loop; the Pulsar part."""

from __future__ import annotations

import asyncio
import gc
import inspect
import signal
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import settings

from telemetry import redaction
from tests.support.pulsar_part import PulsarPart

# How long an example takes says nothing on a busy machine. The examples are the same in each run, so that a change
# fails only because of what it changes; `make test-random` looks for new ones.
settings.register_profile("fixed", deadline=None, derandomize=True)
settings.register_profile("random", deadline=None, print_blob=True)
settings.load_profile("fixed")


_SLOW: Final = (
    "api",
    "bad_input/test_commands.py",
    "chaos",
    "contract",
    "doctor",
    "e2e",
    "secrets/test_commands.py",
    "secrets/test_errors.py",
)
"""Tests that start processes, or talk to servers through sockets; the quick part of the suite leaves them out."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests of these folders and modules as slow."""
    path = item.path.relative_to(Path(__file__).parent).as_posix()
    if path.startswith(_SLOW):
        item.add_marker(pytest.mark.slow)


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell starts what stands before `&` so, and the processes of the tests would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(PulsarPart(), "pulsar-part")


def pytest_collection_finish() -> None:
    """Keep thousands of collected tests out of each garbage collection: they live as long as the process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print every point at which a process was killed, with its result: they are shown only with -v."""
    ended = [
        (report.nodeid.partition("[")[2].rstrip("]"), outcome)
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if report.nodeid.startswith("tests/crash/") and "[" in report.nodeid and report.when == "call"
    ]
    if ended:
        terminalreporter.section("killed with kill -9 at")
    for name, outcome in sorted(ended):
        terminalreporter.line(f"{name:40} {outcome}")


@pytest.fixture(autouse=True)
def _known_secrets() -> Iterator[None]:
    """Forgets the secrets that a test registers: masking is a fact of the process, and its tests share one."""
    redactor = redaction._process
    forms, known, lasting = redactor._forms, redactor._known, set(redactor._lasting)
    passing = {name: deque(values) for name, values in redactor._passing.items()}
    yield
    if redactor._forms is not forms:
        redactor._forms, redactor._known, redactor._lasting, redactor._passing = forms, known, lasting, passing
        redactor._seen.cache_clear()


class _OtherThreads(threading.local):
    """In place of the detector's own flag for "do not look here": set in every thread but the test's."""

    def __init__(self, watched: int) -> None:
        self.value = threading.get_ident() != watched


@pytest.fixture
def blocking_detector(monkeypatch: pytest.MonkeyPatch) -> Iterator[BlockBuster]:
    """Raises in a coroutine that blocks the test's loop. SQLite in `:memory:` runs inline on purpose and is left out.

    Loops of other threads are servers of stand-ins, whose pauses hold up no product.
    """
    monkeypatch.setattr("blockbuster.blockbuster._skip", _OtherThreads(threading.get_ident()))
    with blockbuster_ctx() as detector:
        for name, function in detector.functions.items():
            if name.startswith("sqlite3"):
                function.deactivate()
        yield detector


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.fixturenames.append("blocking_detector")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True
