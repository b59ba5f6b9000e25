"""The Pulsar part of the suite: the source of its broker, and the report if there is none.

In this order: `PULSAR_URL` (with `PULSAR_ADMIN_URL` and `PULSAR_TOKEN`); where a Docker engine answers, a container;
where there is Java, the server distribution, fetched by Maven. Either is started in the background as soon as a test
that needs it is collected, once a session, and shared by all its processes. Else those tests are left out and the
summary says so; `PULSAR_REQUIRED=1` makes that a failure.

Tests marked `pulsar` run on any of them; those marked `own_pulsar` configure or kill their broker, and need Java.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from sandbox.pulsar import LocalPulsar, unavailable_reason
from tests.support.pulsar_place import SETTINGS, Place, Source, engine_answers, given, source_of

__all__ = ["ROOT", "PulsarPart", "own_broker", "own_place", "the_broker"]

ROOT: Final = Path(__file__).parents[2]
_FOLDER: Final = "SCF_TEST_PULSAR_FOLDER"
_CONTROLLER: Final = "SCF_TEST_CONTROLLER"
_LIMIT: Final = 900.0

_engine_answers: Final = functools.cache(engine_answers)


@functools.cache
def own_broker() -> LocalPulsar:
    """The session's own broker, once it is up. It asks for tokens, and serves TLS too."""
    _up(Source.LOCAL)
    return LocalPulsar(_folder(Source.LOCAL))


def own_place() -> Place:
    """Where that is."""
    broker = own_broker()
    return Place(broker.url, broker.admin_url, broker.token())


@functools.cache
def the_broker() -> Place:
    """The broker of the tests marked `pulsar`."""
    match _source(own=False):
        case Source.GIVEN:
            return given(os.environ)
        case Source.CONTAINER:
            return msgspec.json.decode(_up(Source.CONTAINER), type=Place)
        case Source.LOCAL:
            return own_place()
        case None:
            raise RuntimeError(f"there is no Pulsar for this test: {unavailable_reason()}")


def _source(*, own: bool) -> Source | None:
    is_given = bool(os.environ.get("PULSAR_URL"))
    return source_of(own=own, given=is_given, engine=_engine_answers, local=not unavailable_reason())


def _folder(source: Source) -> Path:
    return Path(os.environ[_FOLDER] + f"-{source.name.lower()}")


@functools.cache
def _up(source: Source) -> bytes:
    """Wait for the session's broker; return its description."""
    _start(source)
    folder, deadline = _folder(source), time.monotonic() + _LIMIT
    while not (up := folder / "up").exists():
        if (failed := folder / "failed").exists():
            raise RuntimeError(failed.read_text(encoding="utf-8"))
        assert folder.exists(), "the broker's supervisor gave up"
        assert time.monotonic() < deadline, "the broker did not come up"
        time.sleep(0.1)
    return up.read_bytes()


def _start(source: Source) -> None:
    """Start the session's broker in the background, unless a process of the session has done so."""
    folder = _folder(source)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return
    with (folder / "supervisor.log").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, *_supervisor(source), str(folder), "--while-pid", os.environ[_CONTROLLER]],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    (folder / "supervisor").write_text(str(process.pid), encoding="ascii")
    process.returncode = 0  # it is not ours to wait for


def _supervisor(source: Source) -> list[str]:
    if source is Source.CONTAINER:
        return ["tests/support/pulsar_container.py"]
    settings = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
    return ["-m", "sandbox.pulsar", "--guarded", *settings]


class PulsarPart:
    """A plugin of pytest, in the controller and in each of its workers."""

    def __init__(self) -> None:
        self._left_out = 0
        self._required = os.environ.get("PULSAR_REQUIRED", "") not in {"", "0"}
        self._folder = ""

    def pytest_configure(self, config: pytest.Config) -> None:
        config.addinivalue_line("markers", "pulsar: needs a Pulsar broker")
        config.addinivalue_line("markers", "own_pulsar: needs a Pulsar broker that it may configure or kill")
        if not hasattr(config, "workerinput"):
            # Workers of xdist inherit both.
            self._folder = str(Path(tempfile.gettempdir()).resolve() / f"scf-test-pulsar-{secrets.token_hex(6)}")
            os.environ[_FOLDER] = self._folder
            os.environ[_CONTROLLER] = str(os.getpid())

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Pulsar's tests come last: their broker boots while the others run. The longest of them come first."""
        rest = [item for item in items if not _needs(item)]
        wanted = [item for item in items if _needs(item)]
        wanted.sort(key=lambda item: item.get_closest_marker("slow") is None)
        sources = {own: _source(own=own) for own in {_is_own(item) for item in wanted}}
        able = [item for item in wanted if self._required or sources[_is_own(item)]]
        if left := [item for item in wanted if item not in able]:
            self._left_out = len(left)
            config.hook.pytest_deselected(items=left)
        items[:] = rest + able
        if not config.option.collectonly:
            for source in {sources[_is_own(item)] for item in able} & {Source.CONTAINER, Source.LOCAL}:
                _start(source)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Wait for the broker before a test's time begins: fetching it may take longer than a test may."""
        if _needs(item) and (source := _source(own=_is_own(item))) not in {None, Source.GIVEN}:
            with contextlib.suppress(RuntimeError, AssertionError):  # the test itself reports it
                _up(source)
        return (yield)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["pulsar_left_out"] = self._left_out

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker of xdist ended: its tests are ours."""
        self._left_out = max(self._left_out, getattr(node, "workeroutput", {}).get("pulsar_left_out", 0))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self._left_out:
            return
        what = f"PULSAR WAS NOT RUN: {self._left_out} tests left out"
        terminalreporter.section(what, red=True, bold=True)
        terminalreporter.line(f"{unavailable_reason()}; PULSAR_URL names a broker, and Docker or Java runs one.")
        terminalreporter.line("PULSAR_REQUIRED=1 makes this a failure.")

    def pytest_unconfigure(self) -> None:
        if not self._folder:
            return
        for source in (Source.CONTAINER, Source.LOCAL):
            if (supervisor := _folder(source) / "supervisor").exists():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(supervisor.read_text(encoding="ascii")), signal.SIGTERM)


def _needs(item: pytest.Item) -> bool:
    return item.get_closest_marker("pulsar") is not None or _is_own(item)


def _is_own(item: pytest.Item) -> bool:
    return item.get_closest_marker("own_pulsar") is not None
