"""Three terminals on a real Pulsar: the sandbox with its broker, a worker and a client; then operators' questions."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.pulsar import LocalPulsar
from tests.docs.test_commands import SANDBOX_ON_PULSAR
from tests.e2e.test_terminals import ROOT, Terminals, book, sandbox, until

pytestmark = [pytest.mark.own_pulsar, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[Terminals]:
    shutil.copy(ROOT / "sandbox/photos/portrait.jpg", tmp_path / "photo.jpg")
    terminals = Terminals(tmp_path)
    yield terminals
    terminals.close()
    LocalPulsar(tmp_path / ".sandbox/pulsar").wipe()


def ask(terminals: Terminals, *arguments: str) -> Any:
    done = terminals.run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_sandbox_worker_client_and_the_questions_of_an_operator(terminals: Terminals) -> None:
    with sandbox(terminals, *shlex.split(SANDBOX_ON_PULSAR)[2:]) as environ:
        worker = terminals.open("work")
        until(lambda: "worker.started" in worker.said, "the worker")
        done = terminals.run("submit", "photo.jpg", "--out", "results")
        assert done.returncode == 0, done.stderr
        (row,) = book(environ)["tasks"]
        shown = ask(terminals, "show", row["task_id"])
        assert (shown["state"], shown["refunded"], len(shown["results"])) == ("success", False, 12)
        assert [one["state"] for one in ask(terminals, "stats")["counts"]] == ["success"]
        assert sum(one["ready"] for one in ask(terminals, "topics")["topics"]) == 0
        assert worker.stop(signal.SIGTERM) == 0
        bought = terminals.run("submit", "photo.jpg", "--wait", "0")
        assert bought.returncode == 0, bought.stderr
        until(lambda: waiting(terminals) == ["clean-normal"], "the message of the second task")
    assert not LocalPulsar(terminals.folder / ".sandbox/pulsar").pid


def waiting(terminals: Terminals) -> list[str]:
    return [one["topic"] for one in ask(terminals, "topics")["topics"] if one["ready"]]
