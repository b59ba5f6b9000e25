"""A local Pulsar broker: for `scf-workers broker`, and for the demo."""

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

__all__ = [
    "FOLDER",
    "describe_broker",
    "required_subscriptions",
    "start_broker",
    "stop_broker",
    "variables_for_demo",
    "variables_for_sandbox",
]

FOLDER: Final = Path(".sandbox/pulsar")
"""Default folder of `scf-workers broker`."""


def start_broker(folder: Path) -> dict[str, str]:
    """Start the broker of a folder unless it runs. Returns the variables that point the product at it.

    Raises:
        sandbox.pulsar.BrokerFailed: the broker did not start, or cannot run on this machine.
    """
    return _variables(LocalPulsar(folder).start())


def stop_broker(folder: Path) -> bool:
    """Stop the broker of a folder and keep its messages. Returns False if none ran."""
    broker = _existing(folder)
    if broker is None or not broker.pid:
        return False
    broker.stop()
    return True


def describe_broker(folder: Path) -> dict[str, str]:
    """Return the state of the broker of a folder; empty if none runs."""
    broker = _existing(folder)
    if broker is None or not (pid := broker.pid):
        return {}
    state = "ready" if broker.ready() else "starting"
    return {"STATE": state, "PID": str(pid), "VERSION": VERSION, **_variables(broker)}


def required_subscriptions() -> list[tuple[str, str]]:
    """Return each topic with the subscription that must exist before its first message; the doctor's pair is last."""
    return [*((topic.name, topic.subscription) for topic in TOPICS), ("doctor", "doctor")]


@contextmanager
def variables_for_demo(kind: str, data: Path) -> Generator[dict[str, str]]:
    """Provide the variables of a broker for the duration of one demo.

    Args:
        kind: `sqlite` provides none, so the sandbox uses its own. `pulsar` uses the broker that PULSAR_URL names (with
            PULSAR_ADMIN_URL, PULSAR_TOKEN and PULSAR_NAMESPACE); else a new namespace of the broker that
            `scf-workers broker` started; else a broker started for the demo alone.
        data: folder of the demo.

    Raises:
        sandbox.pulsar.BrokerFailed: no Pulsar is available.
    """
    if kind != "pulsar" or os.environ.get("PULSAR_URL"):
        yield _external() if kind == "pulsar" else {}
        return
    running = _existing(FOLDER)
    broker = running if running is not None and running.ready() else LocalPulsar(data / "pulsar")
    name = f"demo-{secrets.token_hex(6)}"
    try:
        warn("waiting for Pulsar; the first start downloads 250 MB")
        broker.start().make_namespace(name)
        yield {**_variables(broker), "BROKER_NAMESPACE": name}
    finally:
        if broker is running:
            broker.remove_namespace(name)
        else:
            broker.wipe()


@contextmanager
def variables_for_sandbox(kind: str, data: Path) -> Generator[dict[str, str]]:
    """Provide the variables of a sandbox's broker while it runs.

    Args:
        kind: `sqlite` provides none, so the sandbox uses its own; so does an empty text, unless BROKER_URL names a
            broker. `pulsar` uses the broker that PULSAR_URL names (see `variables_for_demo`); else the broker of
            `scf-workers broker`, which is started, and stopped in the end, unless it runs already.
        data: folder of the sandbox, which keeps the namespace of its messages on that broker.

    Raises:
        sandbox.pulsar.BrokerFailed: no Pulsar is available.
    """
    if kind != "pulsar" or os.environ.get("PULSAR_URL"):
        given = {name: value for name, value in os.environ.items() if name.startswith("BROKER_")}
        yield _external() if kind == "pulsar" else given if not kind and given.get("BROKER_URL") else {}
        return
    broker = LocalPulsar(FOLDER)
    ran, name = bool(broker.pid), _namespace_in(data)
    try:
        warn("waiting for Pulsar; the first start downloads 250 MB")
        broker.start().make_namespace(name)
        yield {**_variables(broker), "BROKER_NAMESPACE": name}
    finally:
        if not ran:
            broker.stop()


def _namespace_in(data: Path) -> str:
    """Return the namespace of a sandbox's messages, made once: messages of another ledger would only be in the way."""
    path = data / "namespace"
    if not path.exists():
        path.write_text(f"sandbox-{secrets.token_hex(4)}", encoding="ascii")
    return path.read_text(encoding="ascii")


def _external() -> dict[str, str]:
    """Return the variables of an existing broker that the environment names."""
    names = ("URL", "ADMIN_URL", "TOKEN", "NAMESPACE")
    return {f"BROKER_{name}": value for name in names if (value := os.environ.get(f"PULSAR_{name}"))}


def _variables(broker: LocalPulsar) -> dict[str, str]:
    return {"BROKER_URL": broker.url, "BROKER_ADMIN_URL": broker.admin_url}


def _existing(folder: Path) -> LocalPulsar | None:
    return LocalPulsar(folder) if folder.exists() else None
