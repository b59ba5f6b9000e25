"""A Pulsar broker on this machine: the one of `scf-workers broker`, and the one a demo runs on."""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from console.cli.terminal import warn
from sandbox.pulsar import VERSION, LocalPulsar
from tasks.topics import TOPICS

__all__ = ["FOLDER", "describe_broker", "homes", "start_broker", "stop_broker", "variables_for_demo"]

FOLDER: Final = Path(".sandbox/pulsar")
"""Where `scf-workers broker` keeps its broker unless told otherwise."""


def start_broker(folder: Path) -> dict[str, str]:
    """Start the broker in a folder unless it runs; the variables that point the product at it.

    Raises:
        sandbox.pulsar.BrokerFailed: it did not come up, or is not to be had on this machine.
    """
    return _variables(LocalPulsar(folder).start())


def stop_broker(folder: Path) -> bool:
    """Stop the broker in a folder; whether one ran. What waits in it stays."""
    broker = _existing(folder)
    if broker is None or not broker.pid:
        return False
    broker.stop()
    return True


def describe_broker(folder: Path) -> dict[str, str]:
    """How the broker in a folder is; empty when none runs."""
    broker = _existing(folder)
    if broker is None or not (pid := broker.pid):
        return {}
    state = "ready" if broker.ready() else "starting"
    return {"STATE": state, "PID": str(pid), "VERSION": VERSION, **_variables(broker)}


def homes() -> list[tuple[str, str]]:
    """Every topic with the subscription that must exist on it before the first message; the doctor's own last."""
    return [*((topic.name, topic.subscription) for topic in TOPICS), ("doctor", "doctor")]


@contextmanager
def variables_for_demo(kind: str, data: Path) -> Generator[dict[str, str]]:
    """The variables of a broker for one demo, for as long as that lasts.

    Args:
        kind: `sqlite` leaves it to the world. `pulsar` takes what PULSAR_URL names, with PULSAR_ADMIN_URL, PULSAR_TOKEN
            and PULSAR_NAMESPACE; else a new namespace of the broker that `scf-workers broker` started; else it starts
            one for the demo alone.
        data: folder of the demo.

    Raises:
        sandbox.pulsar.BrokerFailed: there is no Pulsar to be had.
    """
    if kind != "pulsar" or os.environ.get("PULSAR_URL"):
        yield _given() if kind == "pulsar" else {}
        return
    running = _existing(FOLDER)
    broker = running if running is not None and running.ready() else LocalPulsar(data / "pulsar")
    name = f"demo-{secrets.token_hex(6)}"
    try:
        warn("waiting for Pulsar; the first time, 250 MB are fetched")
        broker.start().make_namespace(name)
        yield {**_variables(broker), "BROKER_NAMESPACE": name}
    finally:
        if broker is running:
            broker.remove_namespace(name)
        else:
            broker.wipe()


def _given() -> dict[str, str]:
    """Somebody else's broker, as the environment names it."""
    names = ("URL", "ADMIN_URL", "TOKEN", "NAMESPACE")
    return {f"BROKER_{name}": value for name in names if (value := os.environ.get(f"PULSAR_{name}"))}


def _variables(broker: LocalPulsar) -> dict[str, str]:
    return {"BROKER_URL": broker.url, "BROKER_ADMIN_URL": broker.admin_url}


def _existing(folder: Path) -> LocalPulsar | None:
    return LocalPulsar(folder) if folder.exists() else None
