"""Keeps a Pulsar in a container running for as long as another process lives.

`python tests/support/pulsar_container.py FOLDER --while-pid PID`: once it serves, the file `up` in the folder says
where, as JSON. `failed` has the reason if it cannot. SIGTERM, or the end of that process, removes both container and
folder.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).parents[2]))

from sandbox.pulsar import VERSION
from sandbox.pulsar.__main__ import until_stopped
from tests.support.pulsar_place import SETTINGS, Place

IMAGE = f"apachepulsar/pulsar:{VERSION}"
COMMAND = "bin/apply-config-from-env.py conf/standalone.conf && exec bin/pulsar standalone -nfw -nss"
LIMIT = 180.0


def container(kind: Any) -> Any:
    """The container, not started; `kind` is testcontainers' `DockerContainer`.

    A standalone broker answers lookups with the address it was asked at, so mapped ports do.
    """
    environ = {f"PULSAR_PREFIX_{name}": value for name, value in SETTINGS.items()}
    environ["PULSAR_PREFIX_forceDeleteNamespaceAllowed"] = "true"
    environ["PULSAR_MEM"] = "-Xms128m -Xmx512m -XX:MaxDirectMemorySize=256m"
    return kind(IMAGE, env=environ, ports=[6650, 8080]).with_command(["sh", "-c", COMMAND])


def place_of(started: Any) -> Place:
    """Addresses of a started container's broker."""
    host = started.get_container_host_ip()
    return Place(f"pulsar://{host}:{started.get_exposed_port(6650)}", f"http://{host}:{started.get_exposed_port(8080)}")


def wait_for(place: Place, stop: threading.Event) -> None:
    deadline = time.monotonic() + LIMIT
    while not place.ready() and not stop.wait(0.2):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the broker in the container did not come up in {LIMIT:g} s")


def say(folder: Path, name: str, text: bytes) -> None:
    draft = folder / f"{name}.new"
    draft.write_bytes(text)
    draft.rename(folder / name)


def main() -> None:
    from testcontainers.core.container import DockerContainer

    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--while-pid", type=int, required=True)
    arguments = parser.parse_args()
    with until_stopped(arguments.while_pid) as stop:
        try:
            with container(DockerContainer) as started:
                place = place_of(started)
                wait_for(place, stop)
                say(arguments.folder, "up", msgspec.json.encode(place))
                stop.wait()
        except Exception as error:  # noqa: BLE001 - the tests that wait for it say it
            say(arguments.folder, "failed", f"{type(error).__name__}: {error}".encode())
            stop.wait()
        finally:
            shutil.rmtree(arguments.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
