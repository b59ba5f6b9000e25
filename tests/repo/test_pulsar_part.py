"""Source of the tests' Pulsar, and the report of a machine that has none."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sandbox.pulsar import VERSION
from sandbox.pulsar.__main__ import until_stopped
from sandbox.pulsar.local import is_process_of
from tests.support.patience import PATIENCE_S
from tests.support.pulsar_container import container, place_of
from tests.support.pulsar_part import ROOT
from tests.support.pulsar_place import SETTINGS, Place, Source, engine_answers, given, source_of


@pytest.mark.parametrize(
    ("given", "engine", "local", "shared", "own"),
    [
        (True, True, True, Source.GIVEN, Source.LOCAL),
        (True, False, False, Source.GIVEN, None),
        (True, True, False, Source.GIVEN, None),
        (False, True, True, Source.CONTAINER, Source.LOCAL),
        (False, True, False, Source.CONTAINER, None),
        (False, False, True, Source.LOCAL, Source.LOCAL),
        (False, False, False, None, None),
    ],
)
def test_the_order_of_brokers(
    *, given: bool, engine: bool, local: bool, shared: Source | None, own: Source | None
) -> None:
    assert source_of(own=False, given=given, engine=lambda: engine, local=local) is shared
    assert source_of(own=True, given=given, engine=lambda: engine, local=local) is own


def test_no_engine_is_asked_where_it_would_not_be_used() -> None:
    def engine() -> bool:
        raise AssertionError("asked")

    for is_given, own in ((True, True), (True, False), (False, True)):
        assert source_of(own=own, given=is_given, engine=engine, local=True) is not None


def test_a_docker_without_an_engine_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    assert not engine_answers()


def test_the_broker_of_an_environment_has_the_keep_alive_of_a_stock_one_unless_told() -> None:
    assert given({"PULSAR_URL": "pulsar://h:1"}) == Place("pulsar://h:1", "http://h:8080", "", 30)
    named = {"PULSAR_URL": "u", "PULSAR_ADMIN_URL": "a", "PULSAR_TOKEN": "t", "PULSAR_KEEP_ALIVE": "5"}
    assert given(named) == Place("u", "a", "t", 5)


class Container:
    """Like the class of testcontainers, but never started."""

    def __init__(self, image: str, *, env: dict[str, str], ports: list[int]) -> None:
        self.image, self.env, self.ports = image, env, ports
        self.command: list[str] = []

    def with_command(self, command: list[str]) -> Container:
        self.command = command
        return self

    def get_container_host_ip(self) -> str:
        return "192.0.2.1"

    def get_exposed_port(self, port: int) -> int:
        return self.ports.index(port) + 1000


def test_the_container_has_the_pinned_version_and_our_settings() -> None:
    made = container(Container)
    assert made.image == f"apachepulsar/pulsar:{VERSION}"
    assert {f"PULSAR_PREFIX_{name}": value for name, value in SETTINGS.items()}.items() <= made.env.items()
    assert "apply-config-from-env.py" in made.command[-1]
    assert place_of(made) == Place("pulsar://192.0.2.1:1000", "http://192.0.2.1:1001")


def test_testcontainers_has_what_we_use() -> None:
    # In a process of its own: importing it warns, which is an error here.
    names = "with_command", "get_container_host_ip", "get_exposed_port", "__enter__"
    look = (
        f"from testcontainers.core.container import DockerContainer as C; print([n for n in {names} if hasattr(C, n)])"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    assert ast.literal_eval(done.stdout) == [*names]


def _pytest(tmp_path: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The suite on a machine where nothing is installed."""
    kept = {name: value for name, value in os.environ.items() if not re.match("PULSAR|SCF|PYTEST|JAVA|DOCKER", name)}
    bare = {**kept, "PATH": str(tmp_path), "DOCKER_HOST": f"unix://{tmp_path}/docker.sock", **environ}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *arguments],
        cwd=ROOT,
        env=bare,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("processes", ["0", "2"])
def test_a_machine_without_java_leaves_pulsar_out_loudly_or_fails(tmp_path: Path, processes: str) -> None:
    which = ["-n", processes, "tests/pulsar/test_processes.py", "tests/conformance/brokers/test_closing.py"]
    left_out = _pytest(tmp_path, *which)
    assert left_out.returncode == 0, left_out.stdout
    assert re.search(r"= PULSAR WAS NOT RUN: \d\d tests left out =", left_out.stdout)
    assert "there is no Java" in left_out.stdout
    assert re.search(r"\d+ passed", left_out.stdout), "SQLite's go on"

    demanded = _pytest(tmp_path, *which, "-m", "pulsar", PULSAR_REQUIRED="1")
    assert demanded.returncode == 1, demanded.stdout
    assert "there is no Java" in demanded.stdout
    assert "passed" not in demanded.stdout


@pytest.mark.parametrize(
    ("reported", "ours"),
    [
        ("Ssl  /usr/bin/java -Dscf.log=/x/broker/broker.log -cp y", True),
        ("R    [java]", True),  # so it looks for a moment after its start
        ("Z    [java] <defunct>", False),
        ("Zl   [java] <defunct>", False),
        ("I<   [kworker/0:1H-kblockd]", False),
        ("Ss   /usr/bin/python3 -m http.server", False),
        ("Ss   /usr/bin/java -Dscf.log=/x/other/broker.log", False),
        ("", False),
    ],
)
def test_a_broker_is_known_by_its_process(reported: str, *, ours: bool) -> None:
    assert is_process_of(Path("/x/broker"), reported) is ours


def test_waiting_for_the_broker_takes_none_of_a_tests_time(request: pytest.FixtureRequest) -> None:
    # Wrappers are called from the last to the first. Interrupted in its wait, a test failed and left a socket open.
    order = [found.plugin_name for found in request.config.hook.pytest_runtest_protocol.get_hookimpls()]
    assert order.index("pulsar-part") > order.index("timeout")


def test_a_supervisor_ends_with_the_process_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with (
            subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other,
            until_stopped(other.pid) as stop,
        ):
            assert not stop.is_set()
            other.communicate(b"\n")
            assert stop.wait(10)
        with until_stopped(os.getpid()) as stop:
            threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGTERM)).start()
            assert stop.wait(10)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
