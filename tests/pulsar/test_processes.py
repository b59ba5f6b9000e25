"""Forks, Ctrl-C, and exits without a close."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE_S
from tests.support.pulsar_part import ROOT
from tests.support.pulsar_place import Place

pytestmark = [pytest.mark.pulsar, pytest.mark.timeout(600)]

_USER = Path(__file__).with_name("user.py")


def use(place: Place, namespace: str, what: str, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, str(_USER), what, *options),
            *("--url", place.url, "--token", place.token, "--namespace", namespace),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_forked_child_gets_a_clear_error_and_its_parent_continues(place: Place, namespace: str) -> None:
    with use(place, namespace, "fork") as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    assert out.splitlines() == ["refused 6", "parent goes on: y", "closed"], err
    assert process.returncode == 0


def test_ctrl_c_ends_a_waiting_process_and_closes_its_connection(place: Place, namespace: str) -> None:
    with use(place, namespace, "wait") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert out.splitlines() == ["cancelled", "closed"]
    # The client once aborted the process here, with SIGABRT.
    assert process.returncode in {-signal.SIGINT, 130}, err
    assert "KeyboardInterrupt" in err


def test_a_process_that_does_not_close_exits(place: Place, namespace: str) -> None:
    for _ in range(3):  # one in some dozens once ended by SIGABRT
        with use(place, namespace, "wait", "--leave-open") as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "waiting\n"
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode in {-signal.SIGINT, 130}, err


def test_a_process_that_exits_right_after_the_close_exits_cleanly(place: Place, namespace: str) -> None:
    # The client's threads must end before the interpreter: earlier, every second or third such process ended by a
    # segmentation fault.
    path = f"/admin/v2/namespaces/public/{namespace}/autoTopicCreation"
    assert place.ask("POST", path, b'{"allowAutoTopicCreation": false}') == HTTPStatus.NO_CONTENT
    ends = []
    for _ in range(10):
        with use(place, namespace, "leave") as process:
            ends.append((*process.communicate(timeout=PATIENCE_S), process.returncode))
    assert [(out, status) for out, _, status in ends] == [("not there\n", 0)] * len(ends), ends
