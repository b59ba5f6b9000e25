"""Three terminals on a real Pulsar: the sandbox with its broker, a worker and a client; then operators' questions."""

from __future__ import annotations

import shlex
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.pulsar import LocalPulsar
from tests.docs.test_commands import SANDBOX_ON_PULSAR
from tests.e2e.night import ask_everything, cancel_some, disturb, run_json, sell
from tests.e2e.test_terminals import ROOT, Terminals, book, sandbox, until

pytestmark = [pytest.mark.own_pulsar, pytest.mark.slow, pytest.mark.timeout(600)]


TASKS = 9


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[Terminals]:
    shutil.copy(ROOT / "sandbox/photos/portrait.jpg", tmp_path / "photo.jpg")
    terminals = Terminals(tmp_path)
    yield terminals
    terminals.close()
    LocalPulsar(tmp_path / ".sandbox/pulsar").wipe()


def test_sandbox_worker_client_and_the_questions_of_an_operator(terminals: Terminals) -> None:
    with sandbox(terminals, *shlex.split(SANDBOX_ON_PULSAR)[2:]) as environ:
        disturb(environ)
        sell(environ, TASKS - 1)
        cancel_some(terminals, environ)
        worker = terminals.open("work")
        done = terminals.run("submit", "photo.jpg", "--out", "results")
        # Its job may be one of those that the vendor fails.
        ended = book(dict(environ))["tasks"][-1]["status"]
        assert done.returncode == {"success": 0, "failed": 1}[ended], done.stderr
        ask_everything(terminals, environ)
        assert worker.stop(signal.SIGTERM) == 0
        bought = terminals.run("submit", "photo.jpg", "--wait", "0")
        assert bought.returncode == 0, bought.stderr
        until(lambda: waiting(terminals) == ["clean-normal"], "the message of the last task")
    assert not LocalPulsar(terminals.folder / ".sandbox/pulsar").pid


def waiting(terminals: Terminals) -> list[str]:
    return [one["topic"] for one in run_json(terminals, "topics")["topics"] if one["ready"]]
