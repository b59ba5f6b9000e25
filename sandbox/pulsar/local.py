"""Private broker in a folder: started, probed and stopped by its process id, bound to 127.0.0.1 only."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from sandbox.pulsar.config import ADMIN_ROLE, STORE_PASSWORD, Plan, Ports, command_line, configuration
from sandbox.pulsar.distribution import BrokerFailed, jars, java, unavailable_reason

__all__ = ["LocalPulsar", "is_process_of"]

_PORT_RANGE: Final = (20000, 32000)
"""Below the ephemeral ports of kernels, so that no other program takes a port while the broker is down."""
_START_LIMIT: Final = 180.0
_STOP_LIMIT: Final = 20.0
_LOOK_EVERY: Final = 0.1


class LocalPulsar:
    """A broker in a folder. Its data and its ports are kept after its process has ended.

    Args:
        folder: folder of data, logs and keys; created if need be. A broker that runs there already is taken over.
        guarded: require tokens, and serve TLS too; in a folder that was used before, the earlier value stays.
        settings: lines of its configuration that differ from `standalone.conf`; likewise.
    """

    def __init__(self, folder: Path, *, guarded: bool = False, settings: Mapping[str, str] | None = None) -> None:
        self._folder = folder.resolve()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._plan = self._keep(Plan(_free_ports(), guarded, dict(settings or {})))

    @property
    def url(self) -> str:
        """`pulsar://127.0.0.1:PORT`."""
        return f"pulsar://127.0.0.1:{self._plan.ports.pulsar}"

    @property
    def tls_url(self) -> str:
        """`pulsar+ssl://localhost:PORT` of a broker with authentication."""
        return f"pulsar+ssl://localhost:{self._plan.ports.tls}"

    @property
    def admin_url(self) -> str:
        """`http://127.0.0.1:PORT`: administration, and lookups over HTTP."""
        return f"http://127.0.0.1:{self._plan.ports.http}"

    @property
    def certificate(self) -> Path:
        """Certificate with which clients verify `tls_url`."""
        return self._folder / "broker.pem"

    @property
    def pid(self) -> int:
        """Process id; 0 if it is down. A process id that another program got is ignored."""
        try:
            pid = int((self._folder / "pid").read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return 0
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        status = subprocess.run(  # noqa: S603 - fixed arguments
            ["ps", "-ww", "-o", "stat=,command=", "-p", str(pid)],  # noqa: S607 - its path differs between systems
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
        return pid if is_process_of(self._folder, status) else 0

    def token(self, role: str = ADMIN_ROLE, **claims: object) -> str:
        """Return a token that a broker with authentication accepts."""
        import jwt

        return jwt.encode({"sub": role, **claims}, self._key.read_bytes(), algorithm="HS256")

    def start(self) -> Self:
        """Start the broker unless it runs, and wait until it serves topics.

        Raises:
            sandbox.pulsar.BrokerFailed: it ended, did not start in time, or cannot run here.
        """
        if not self.pid:
            self._launch()
        deadline = time.monotonic() + _START_LIMIT
        while not self.ready():
            if not self.pid or time.monotonic() > deadline:
                self.kill()
                raise BrokerFailed(f"the broker in {self._folder} did not start:\n{self._last_words()}")
            time.sleep(_LOOK_EVERY)
        return self

    def stop(self) -> None:
        """Stop it gracefully; kill it if that takes too long."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it with SIGKILL, as in a crash."""
        self._end(signal.SIGKILL)

    def wipe(self) -> None:
        """Kill it and remove its folder."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def ready(self) -> bool:
        """Return True if it serves topics and stores messages; its port is open long before."""
        topic = "persistent/public/default/ready"
        if self.ask("GET", f"/lookup/v2/topic/{topic}") != HTTPStatus.OK:
            return False
        # Creating the subscription opens the topic, which fails until the broker knows its bookie.
        probe = f"/admin/v2/{topic}/subscription/probe-{secrets.token_hex(4)}"
        made = self.ask("PUT", probe) == HTTPStatus.NO_CONTENT
        return made and self.ask("DELETE", probe) == HTTPStatus.NO_CONTENT

    def make_namespace(self, name: str) -> None:
        """Create the namespace `public/name` if it does not exist.

        Raises:
            sandbox.pulsar.BrokerFailed: the broker refused.
        """
        status = self.ask("PUT", f"/admin/v2/namespaces/public/{name}")
        if status not in {HTTPStatus.NO_CONTENT, HTTPStatus.CONFLICT}:
            raise BrokerFailed(f"the namespace {name} could not be created: HTTP {status}")

    def remove_namespace(self, name: str) -> None:
        """Remove the namespace `public/name` with its content; a failure is ignored."""
        self.ask("DELETE", f"/admin/v2/namespaces/public/{name}?force=true")

    def ask(self, method: str, path: str, body: bytes | None = None) -> int:
        """Call the admin interface as administrator. Returns the status; 0 without an answer."""
        headers = {"Content-Type": "application/json"}
        if self._plan.guarded and self._key.exists():
            headers["Authorization"] = f"Bearer {self.token()}"
        request = urllib.request.Request(  # noqa: S310 - our own http URL
            f"{self.admin_url}{path}", data=body, headers=headers, method=method
        )
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return 0

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    @property
    def _key(self) -> Path:
        return self._folder / "token.key"

    def _keep(self, plan: Plan) -> Plan:
        """Store the plan in the folder, unless one is stored. Returns the stored one."""
        path = self._folder / "plan.json"
        if not path.exists():
            path.write_bytes(msgspec.json.encode(plan))
        return msgspec.json.decode(path.read_bytes(), type=Plan)

    def _launch(self) -> None:
        if reason := unavailable_reason():
            raise BrokerFailed(f"no broker can be started here: {reason}")
        library = jars()
        if self._plan.guarded:
            self._make_keys()
        token = self.token() if self._plan.guarded else ""
        _write_private(self._folder / "broker.conf", configuration(self._plan, self._folder, token).encode())
        shutil.rmtree(self._folder / "tmp", ignore_errors=True)
        (self._folder / "tmp").mkdir()
        with (self._folder / "console.log").open("wb") as said:
            process = subprocess.Popen(  # noqa: S603 - the JDK's own program
                command_line(java(), library, self._plan, self._folder),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,  # Ctrl-C must reach only the program that started it
            )
        (self._folder / "pid").write_text(str(process.pid), encoding="ascii")
        # From here on this process too knows it by its id alone.
        process.returncode = 0

    def _make_keys(self) -> None:
        """Create a key for tokens and a certificate for loopback, once for each folder."""
        if self._key.exists():
            return
        store = self._folder / "broker.p12"
        common = ["-alias", "broker", "-keystore", str(store), "-storepass", STORE_PASSWORD]
        names = ["-dname", "CN=localhost", "-ext", "san=dns:localhost,ip:127.0.0.1", "-ext", "bc:c"]
        kind = ["-keyalg", "EC", "-groupname", "secp256r1", "-storetype", "PKCS12", "-validity", "3650"]
        _keytool("-genkeypair", *common, *kind, *names)
        self.certificate.write_bytes(_keytool("-exportcert", "-rfc", *common))
        _write_private(self._key, secrets.token_bytes(32))

    def _end(self, number: signal.Signals) -> None:
        pid = self.pid
        if not pid:
            return
        os.kill(pid, number)
        deadline = time.monotonic() + _STOP_LIMIT
        while self.pid:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(_LOOK_EVERY)
        (self._folder / "pid").unlink(missing_ok=True)

    def _last_words(self) -> str:
        said = [
            path.read_text(encoding="utf-8", errors="replace")[-1500:]
            for name in ("console.log", "broker.log")
            if (path := self._folder / name).exists()
        ]
        return "\n".join(said)


def is_process_of(folder: Path, status: str) -> bool:
    """Return True if a process is the living broker of a folder.

    Args:
        folder: folder of the broker.
        status: output of `ps` for the process: its state and its command; empty if there is none.
    """
    state, _, command = status.partition(" ")
    # A new process has no command line for a moment, and `ps` shows its name in brackets.
    return not state.startswith("Z") and (str(folder) in command or command.lstrip().startswith("[java"))


def _free_ports() -> Ports:
    found: set[int] = set()
    while len(found) < len(Ports.__struct_fields__):
        port = random.randrange(*_PORT_RANGE)  # noqa: S311 - no secret
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            found.add(port)
    return Ports(*found)


def _keytool(*arguments: str) -> bytes:
    return subprocess.run(  # noqa: S603 - the JDK's own program
        [java("keytool"), *arguments], capture_output=True, check=True
    ).stdout


def _write_private(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(data)
