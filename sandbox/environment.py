"""All stand-ins together, on free loopback ports, and the environment that points the product at them."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self

import httpx

from sandbox.ark.app import create_app as ark_app
from sandbox.ark.model import KeyLimits as ArkKeyLimits
from sandbox.backend.app import create_app as backend_app
from sandbox.commands import Commands
from sandbox.cos.app import create_app as cos_app
from sandbox.cos.events import CommandSink, CosEvent, Sink, UrlSink
from sandbox.gateway import create_app as gateway_app
from sandbox.photo_host import create_app as photo_host_app
from sandbox.ports import KeptPorts
from sandbox.runninghub.app import create_app as runninghub_app
from sandbox.runninghub.model import KeyLimits
from sandbox.server import Server
from sandbox.tokenhub.app import create_app as tokenhub_app
from sandbox.vod.app import create_app as vod_app
from sandbox.vod.model import Account as VodAccount
from sandbox.whole_files import write_whole

__all__ = ["APPID", "BUCKET", "LEDGER_BUCKET", "REGION", "TERMINAL", "VENDORS", "Handlers", "Sandbox", "VendorName"]

APPID: Final = "1250000000"
BUCKET: Final = f"photos-{APPID}"
"""Bucket of inputs, staging and output."""
LEDGER_BUCKET: Final = f"ledger-{APPID}"
"""Bucket of the ledger."""
REGION: Final = "ap-guangzhou"

TERMINAL: Final = frozenset({"PATH", "HOME", "LANG", "TZ", "LOG_FORMAT"})
"""Variables of a terminal, which handlers inherit and which name no stand-in."""

VendorName = Literal["runninghub", "ark", "vod"]
"""A paid vendor that has a stand-in."""
VENDORS: Final[tuple[VendorName, ...]] = ("runninghub", "ark", "vod")
"""Every one."""

_AT_ONCE: Final = 2
"""Handlers of one function that run at the same time."""

_CHAT_MODEL: Final = "hy-vision-2.0-instruct"
"""A chat model that takes pictures (docs/reference/tokenhub.md)."""

_VOD_APPLICATION: Final = 1_500_000_000

_PATIENCE_S: Final = 8.0
"""Seconds that an outage of the chat model is waited for: a demo should not take minutes."""

_WORKFLOWS: Final = Path(__file__).parent / "workflows"
"""Folder with a workflow file for each kind of the vendor's stand-in."""


class Handlers(NamedTuple):
    """Commands that run a handler in a fresh process, as the platform does, with the event on stdin."""

    cos_trigger: Sequence[str]
    """Handles COS events."""
    webhook: Sequence[str]
    """Handles calls of the Function URL that the vendor calls."""
    log: Path | None = None
    """File for their logs; None for this process's standard error."""


class Sandbox:
    """COS with CI, RunningHub, Ark, VOD, TokenHub, the backend, and the Function URL that RunningHub calls.

    Args:
        data: data directory of the stand-ins and of the broker.
        handlers: commands of the product's functions.
        event_url: URL to post COS events to; empty runs the handler as a command.
        duration_s: duration of a vendor's job or picture, in seconds.
        concurrent: number of jobs RunningHub runs at once.
        webhook: give RunningHub a webhook URL.
        settings: settings of the product that differ, such as another broker than a file in the data directory.
    """

    def __init__(
        self,
        data: Path,
        handlers: Handlers,
        *,
        event_url: str = "",
        duration_s: float = 2.0,
        concurrent: int = 6,
        webhook: bool = True,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        data.mkdir(parents=True, exist_ok=True)
        # It holds keys and pictures: only the owner may enter, whatever the modes of the files.
        data.chmod(0o700)
        self._data = data
        self._settings = settings or {}
        self._commands = Commands(handlers.log)
        self._secrets = _load_secrets(data / "secrets.json")
        self.ports = KeptPorts(data / "ports.json")
        """Ports of its servers, and of others that run beside them."""
        self._cos = self._server(
            "cos",
            cos_app(
                data_dir=data / "cos",
                buckets=(BUCKET, LEDGER_BUCKET),
                credentials={self._secrets["secret_id"]: self._secrets["secret_key"]},
                region=REGION,
                appid=APPID,
                on_created=self._deliver,
                event_prefixes={BUCKET: "input/"},
            ),
        )
        apps = self._vendor_apps(data, duration_s, concurrent)
        self._runninghub = self._server("runninghub", apps["runninghub"])
        self._ark = self._server("ark", apps["ark"])
        self._vod = self._server("vod", apps["vod"])
        self._tokenhub = self._server("tokenhub", apps["tokenhub"])
        self._photos = self._server("photos", photo_host_app())
        self._backend = self._server(
            "backend",
            backend_app(
                secret=self._secrets["callback"],
                ticket_secret=self._secrets["ticket"],
                clock=time.time,
                data_dir=data / "backend",
            ),
        )
        self._gateway = self._server(
            "gateway",
            gateway_app(handlers.webhook, environ=lambda: self.environ, concurrency=_AT_ONCE, commands=self._commands),
        )
        self.environ = self._environ(duration_s, self._gateway.url if webhook else "")
        # Created last: the command needs the environment, which contains the ports.
        self._sink: Sink = UrlSink(event_url) if event_url else self._command_sink(handlers.cos_trigger)

    def _vendor_apps(self, data: Path, duration_s: float, concurrent: int) -> dict[str, Any]:
        """Return the stand-ins of the vendors, by name."""
        account = VodAccount(secret_key=self._secrets["secret_key"], application=_VOD_APPLICATION)
        return {
            "runninghub": runninghub_app(
                api_keys={self._secrets["runninghub"]: KeyLimits(concurrent=concurrent)},
                data_dir=data / "runninghub",
                duration_s=duration_s,
            ),
            "ark": ark_app(
                api_keys={self._secrets["ark"]: ArkKeyLimits()}, data_dir=data / "ark", duration_s=duration_s
            ),
            "vod": vod_app(
                accounts={self._secrets["secret_id"]: account}, data_dir=data / "vod", duration_s=duration_s
            ),
            "tokenhub": tokenhub_app(api_keys=frozenset({self._secrets["tokenhub"]}), models=(_CHAT_MODEL,)),
        }

    def _server(self, name: str, app: Any) -> Server:  # noqa: ANN401 - ASGI apps have no common type
        server = Server(app, self.ports.of(name))
        self.ports.keep(name, server.port)
        return server

    def start(self) -> Self:
        """Start serving."""
        for server in self._servers:
            server.start()
        return self

    def stop(self) -> None:
        """Stop serving; COS first, so that all its events are delivered. No function runs on after that."""
        self._cos.stop()
        self._commands.stop()
        for server in self._servers:
            if server is not self._cos:
                server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is not None:
            # Events that are left need no answer any more.
            self._commands.stop()
        self.stop()

    def quota_account(self, task: str = "") -> dict[str, Any]:
        """Return the backend's quota account."""
        return self._ask(self._backend, f"/_sandbox/quota?task_id={task}")

    def vendor_stats(self, vendor: VendorName = "runninghub") -> dict[str, Any]:
        """Return a vendor's counts, and everything it was paid for."""
        return self._ask(getattr(self, f"_{vendor}"), "/_sandbox/stats")

    def cos_answers(self) -> dict[str, int]:
        """Return the number of COS's answers by verb and status, such as `PUT lifecycle 200`."""
        found: dict[str, int] = self._ask(self._cos, "/_sandbox/stats")["requests"]
        return found

    def arm(self, stand_in: str, fault: Mapping[str, object]) -> None:
        """Arm a fault of `cos`, `runninghub`, `ark`, `vod`, `tokenhub` or `backend`."""
        server: Server = getattr(self, f"_{stand_in}")
        httpx.post(f"{server.url}/_sandbox/faults", json=dict(fault), trust_env=False).raise_for_status()

    def set_audit(self, rules: Mapping[str, object]) -> None:
        """Set the rules of the content audit (`sandbox.cos.ci.audit.AuditRules`)."""
        url = f"{self._cos.url}/_sandbox/audit"
        httpx.put(url, json=dict(rules), trust_env=False).raise_for_status()

    def _command_sink(self, argv: Sequence[str]) -> Sink:
        return CommandSink(argv, concurrency=_AT_ONCE, env=self.environ, commands=self._commands)

    async def _deliver(self, event: CosEvent) -> None:
        await self._sink(event)

    @property
    def _servers(self) -> tuple[Server, ...]:
        vendors = (self._runninghub, self._ark, self._vod, self._tokenhub)
        return (self._cos, *vendors, self._gateway, self._backend, self._photos)

    @staticmethod
    def _ask(server: Server, path: str) -> dict[str, Any]:
        answer = httpx.get(f"{server.url}{path}", trust_env=False, timeout=30).raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def _environ(self, duration_s: float, webhook_url: str) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if _is_inherited(name)}
        if scenes := os.environ.get("SCENES_FILE"):
            inherited["SCENES_FILE"] = str(Path(scenes).resolve())
        return {
            **inherited,
            "BROKER_URL": f"sqlite://{(self._data / 'broker.db').resolve()}",
            "ENVIRONMENT": "development",
            "TRACE_FILE": str((self._data / "trace.jsonl").resolve()),
            "MESSAGE_KEYS": f"k1:*:{self._secrets['message']}",
            "TENCENTCLOUD_REGION": REGION,
            "TENCENTCLOUD_SECRET_ID": self._secrets["secret_id"],
            "TENCENTCLOUD_SECRET_KEY": self._secrets["secret_key"],
            "COS_BUCKET": BUCKET,
            "LEDGER_BUCKET": LEDGER_BUCKET,
            "COS_ENDPOINT": self._cos.url,
            "AI_LABEL_PRODUCER": "scf-workers sandbox",
            "AI_LABEL_SECRET": self._secrets["label"],
            "BACKEND_URL": self._backend.url,
            "INTERNAL_CALLBACK_SECRET": self._secrets["callback"],
            "TICKET_SECRET": self._secrets["ticket"],
            "JWT_SECRET": self._secrets["jwt"],
            "WEBHOOK_URL": webhook_url,
            "WEBHOOK_SECRET": self._secrets["webhook"],
            "RUNNINGHUB_URL": self._runninghub.url,
            "RUNNINGHUB_API_KEY": self._secrets["runninghub"],
            "RUNNINGHUB_WORKFLOWS": str(_WORKFLOWS),
            "ARK_URL": self._ark.url,
            "ARK_API_KEY": self._secrets["ark"],
            "VOD_URL": self._vod.url,
            "VOD_SUB_APP_ID": str(_VOD_APPLICATION),
            "TOKENHUB_URL": f"{self._tokenhub.url}/v1",
            "TOKENHUB_API_KEY": self._secrets["tokenhub"],
            "TOKENHUB_MODEL": _CHAT_MODEL,
            "PROMPT_PATIENCE_S": f"{_PATIENCE_S:g}",
            "VENDOR_EXPECTED_S": f"{duration_s:g}",
            "VENDOR_FULL_PAUSE_S": f"{max(0.5, duration_s / 2):g}",
            "FETCH_PRIVATE_HOSTS": ",".join(
                f"127.0.0.1:{vendor.port}" for vendor in (self._runninghub, self._ark, self._vod)
            ),
            "SOURCE_PRIVATE_HOSTS": f"127.0.0.1:{self._photos.port},127.0.0.1:{self._cos.port}",
            "PHOTOS_URL": self._photos.url,
            **self._settings,
        }


def _is_inherited(name: str) -> bool:
    """Return True for a variable of this process that handlers inherit."""
    return name in TERMINAL or name.startswith("OTEL_")


def _load_secrets(path: Path) -> dict[str, str]:
    """Load or create the keys of the stand-ins, which are kept so that a restart can verify signatures."""
    kept: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    names = ("secret_key", "callback", "ticket", "jwt", "webhook", "message", "label", "runninghub", "ark", "tokenhub")
    made = {name: secrets.token_hex(24) for name in names}
    made["secret_id"] = f"AKIDsandbox{secrets.token_hex(8)}"
    if made.keys() - kept.keys():
        write_whole(path, json.dumps({**made, **kept}).encode(), mode=0o600)
    return {**made, **kept}
