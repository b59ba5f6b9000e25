"""The Pulsar part of the suite: where its broker comes from, and what is said when there is none.

In this order: `PULSAR_URL` (with `PULSAR_ADMIN_URL` and `PULSAR_TOKEN`); else, where there is Java, one broker a
session, fetched by Maven, started in the background as soon as a test that needs it is collected, and shared by all
processes of the session. Else those tests are left out and the summary says so; `PULSAR_REQUIRED=1` makes that a
failure.

Tests marked `pulsar` run on either; those marked `own_pulsar` need a broker that they may configure or kill.
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
import urllib.error
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import pytest

from sandbox.pulsar import LocalPulsar, why_not

ROOT: Final = Path(__file__).parents[2]
KEEP_ALIVE: Final = 2
"""Seconds between two pings of our broker: a process that hangs is noticed after one to two of them."""
_SETTINGS: Final = {
    "keepAliveIntervalSeconds": str(KEEP_ALIVE),
    # Delays as Pulsar ships them, a second early and a second late: the adapter keeps what comes early.
    "isDelayedDeliveryDeliverAtTimeStrict": "false",
    "delayedDeliveryTickTimeMillis": "1000",
    # 50000 as shipped. So many delays with rising due times stop a topic; the same at a hundredth.
    "delayedDeliveryFixedDelayDetectionLookahead": "500",
}
_FOLDER: Final = "SCF_TEST_PULSAR_FOLDER"
_CONTROLLER: Final = "SCF_TEST_CONTROLLER"
_LIMIT: Final = 900.0


class Place(msgspec.Struct, frozen=True):
    """A broker that tests may use, each in a namespace of its own."""

    url: str
    admin_url: str
    token: str

    def supply(self) -> str:
        """As `open_broker` takes a token."""
        return self.token

    @property
    def supplier(self) -> Callable[[], str] | None:
        """None where nobody asks for a token."""
        return self.supply if self.token else None

    def new_namespace(self) -> str:
        """Make one nobody else has."""
        name = f"t{secrets.token_hex(6)}"
        assert self.ask("PUT", f"/admin/v2/namespaces/public/{name}") == HTTPStatus.NO_CONTENT
        return name

    def ask(self, method: str, path: str, body: bytes | None = None) -> int:
        """Ask the admin interface; the status."""
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(  # noqa: S310 - our own http URL
            f"{self.admin_url}{path}", data=body, headers=headers, method=method
        )
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code


@functools.cache
def own_broker() -> LocalPulsar:
    """The session's own broker, once it is up. It asks for tokens, and serves TLS too."""
    folder = Path(os.environ[_FOLDER])
    _start(folder)
    deadline = time.monotonic() + _LIMIT
    while not (folder / "up").exists():
        if (failed := folder / "failed").exists():
            raise RuntimeError(failed.read_text(encoding="utf-8"))
        assert folder.exists(), "the broker's supervisor gave up"
        assert time.monotonic() < deadline, "the broker did not come up"
        time.sleep(0.1)
    return LocalPulsar(folder)


@functools.cache
def the_broker() -> Place:
    """The broker of the tests marked `pulsar`."""
    if url := os.environ.get("PULSAR_URL", ""):
        admin = os.environ.get("PULSAR_ADMIN_URL") or f"http://{urlsplit(url).hostname}:8080"
        return Place(url, admin, os.environ.get("PULSAR_TOKEN", ""))
    broker = own_broker()
    return Place(broker.url, broker.admin_url, broker.token())


def _start(folder: Path) -> None:
    """Start the session's broker in the background, unless a process of the session has done so."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return
    with (folder / "supervisor.log").open("wb") as said:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "sandbox.pulsar", str(folder), "--guarded"),
                *("--while-pid", os.environ[_CONTROLLER]),
                *(word for name, value in _SETTINGS.items() for word in ("--set", f"{name}={value}")),
            ],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    (folder / "supervisor").write_text(str(process.pid), encoding="ascii")
    process.returncode = 0  # it is not ours to wait for


class PulsarPart:
    """A plugin of pytest, in the controller and in each of its workers."""

    def __init__(self) -> None:
        self._left_out = 0
        self._required = os.environ.get("PULSAR_REQUIRED", "") not in {"", "0"}
        self._given = bool(os.environ.get("PULSAR_URL"))
        self._why_not = why_not()
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
        able = [item for item in wanted if self._required or not self._missing(item)]
        if left := [item for item in wanted if item not in able]:
            self._left_out = len(left)
            config.hook.pytest_deselected(items=left)
        items[:] = rest + able
        starts = any(not self._given or _is_own(item) for item in able)
        if starts and not self._why_not and not config.option.collectonly:
            _start(Path(os.environ[_FOLDER]))

    def _missing(self, item: pytest.Item) -> str:
        """What a test lacks here; empty if it can run."""
        return "" if self._given and not _is_own(item) else self._why_not

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
        terminalreporter.line(f"{self._why_not}. PULSAR_URL names a broker; PULSAR_REQUIRED=1 makes this a failure.")

    def pytest_unconfigure(self) -> None:
        if not self._folder:
            return
        if (supervisor := Path(self._folder) / "supervisor").exists():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(supervisor.read_text(encoding="ascii")), signal.SIGTERM)


def _needs(item: pytest.Item) -> bool:
    return item.get_closest_marker("pulsar") is not None or _is_own(item)


def _is_own(item: pytest.Item) -> bool:
    return item.get_closest_marker("own_pulsar") is not None
