"""Settings -> objects. Adapters are imported late, each only where its settings ask for it."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, TextIO

import msgspec

from messages.bodies import Stage
from messages.text import without_bom
from recipes.recipe import Recipe
from recipes.shared.scenes import read_scenes
from recipes.table import RECIPES, recipes_with
from runtime.credentials import credentials_in
from runtime.errors import BadSettings
from runtime.message_keys import open_keys
from runtime.settings import REQUIRED, Settings, load_settings, require
from runtime.vendor_keys import daily_calls_of, draining_of
from runtime.vendors import limits, open_chats, open_vendors
from services.backend import Backend
from services.fetch import Fetcher
from services.media.ai_labels import AiLabels
from services.objects.credentials import Credentials
from services.objects.port import Objects
from services.urls import HostRules
from services.vendors.guarded import GuardedChat
from services.vendors.instrumented import InstrumentedChat, InstrumentedVendor
from services.vendors.registry import Vendors
from tasks.calls.identity import CallIdentities
from tasks.calls.webhook_paths import Webhooks
from tasks.context import (
    ApiServices,
    ErasureServices,
    LedgerServices,
    Policy,
    ReplayServices,
    Services,
    SweepServices,
    TriggerServices,
    WebhookServices,
)
from tasks.control.reader import READ_EVERY_S, PauseReader
from tasks.ledger.ledger import Ledger
from telemetry import logs
from telemetry.exporters import Exporters, Options, open_exporters
from telemetry.secrets import Secret
from transport import open_broker, options_of
from transport.port import Broker, BrokerOptions, Clock

__all__ = [
    "Environ",
    "broker_options",
    "open_api",
    "open_backlogs",
    "open_erasure",
    "open_ledger",
    "open_recipes",
    "open_replay",
    "open_services",
    "open_sweep",
    "open_telemetry",
    "open_trigger",
    "open_webhook",
    "set_up_logs",
]

Environ = Callable[[], Mapping[str, str]]
"""Returns the current environment."""

_MAX_RESULT_BYTES: Final = 2 << 30
"""Largest result that is downloaded, in bytes; video included."""

_FETCH_TIMEOUT: Final = 30.0


def set_up_logs(stream: TextIO, settings: Settings, service: str, environ: Mapping[str, str]) -> None:
    """Send the logs of this process to a stream, as the settings say.

    Args:
        stream: the stream.
        settings: the settings.
        service: name of the function or process.
        environ: environment with TERM and NO_COLOR.
    """
    logs.setup(stream, settings.log_level, service, logs.style_of(stream, settings.log_format, environ))


def open_telemetry(settings: Settings, service: str) -> Exporters:
    """Open the exporters of logs, spans and metrics that the settings name.

    Args:
        settings: the settings.
        service: name of the function or process, as its logs have it.

    Raises:
        runtime.errors.BadSettings: the trace file cannot be written.
    """
    options = Options(
        service=service,
        trace_file=settings.trace_file,
        endpoint=settings.otel_exporter_otlp_endpoint,
        protocol=settings.otel_exporter_otlp_protocol,
        headers=settings.otel_exporter_otlp_headers,
        resource=settings.otel_resource_attributes,
        service_name=settings.otel_service_name,
        metrics=settings.otel_metrics_exporter == "otlp",
    )
    try:
        return open_exporters(options)
    except OSError as error:
        raise BadSettings(f"TRACE_FILE cannot be written: {error.strerror}") from error


def open_recipes(scenes_file: str) -> Mapping[str, Recipe]:
    """Return every recipe by its kind.

    Args:
        scenes_file: value of `SCENES_FILE`; empty for the bundled scenes.

    Raises:
        runtime.errors.BadSettings: the file cannot be read, or holds no scenes; the text names it and the fault.
    """
    if not scenes_file:
        return RECIPES
    try:
        scenes = read_scenes(without_bom(Path(scenes_file).read_bytes()))
    except OSError as error:
        raise BadSettings(f"SCENES_FILE names {scenes_file!r}, which cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadSettings(
            f"SCENES_FILE names {scenes_file!r}, which holds no scenes (docs/configuration.md): {error}"
        ) from error
    return recipes_with(scenes)


@asynccontextmanager
async def open_webhook(settings: Settings, environ: Environ) -> AsyncGenerator[WebhookServices]:
    """Open the services of the vendors' webhook: a broker, and the secret that signs its paths. See `open_services`."""
    require(settings, "broker_url", "webhook_secret")
    keys = open_keys(settings, (Stage.WAKE,))
    async with AsyncExitStack() as stack:
        broker = await _Parts(settings, environ, stack).broker(time.time)
        yield WebhookServices(broker=broker, keys=keys, webhooks=_webhooks(settings), clock=time.time)


@asynccontextmanager
async def open_sweep(settings: Settings, environ: Environ) -> AsyncGenerator[SweepServices]:
    """Open the services of the sweep, which needs neither pictures nor tickets. See `open_services`."""
    require(settings, "broker_url", "ledger_bucket", "backend_url", "internal_callback_secret")
    keys = open_keys(settings, (Stage.WAKE,))
    async with AsyncExitStack() as stack:
        parts = _Parts(settings, environ, stack)
        ledger = parts.ledger()
        broker = await parts.broker(ledger.now)
        yield SweepServices(broker=broker, keys=keys, ledger=ledger, backend=parts.backend(ledger.now))


@asynccontextmanager
async def open_ledger(settings: Settings, environ: Environ) -> AsyncGenerator[LedgerServices]:
    """Open the ledger alone, and the keys that messages are checked with. See `open_services`."""
    require(settings, "ledger_bucket")
    keys = open_keys(settings, ())
    async with AsyncExitStack() as stack:
        yield LedgerServices(keys=keys, ledger=_Parts(settings, environ, stack).ledger())


@asynccontextmanager
async def open_erasure(settings: Settings, environ: Environ) -> AsyncGenerator[ErasureServices]:
    """Open both buckets, to erase a user's data. See `open_services`."""
    require(settings, "cos_bucket", "ledger_bucket")
    keys = open_keys(settings, ())
    models = (settings.tokenhub_model,) if settings.tokenhub_model else ()
    async with AsyncExitStack() as stack:
        parts = _Parts(settings, environ, stack)
        data, ledger = parts.bucket(settings.cos_bucket), parts.ledger()
        yield ErasureServices(keys=keys, ledger=ledger, objects=data, chat_models=models)


@asynccontextmanager
async def open_backlogs(settings: Settings, environ: Environ) -> AsyncGenerator[Broker]:
    """Open the broker alone, to read backlogs. See `open_services`."""
    require(settings, "broker_url")
    async with AsyncExitStack() as stack:
        yield await _Parts(settings, environ, stack).broker(time.time)


@asynccontextmanager
async def open_replay(settings: Settings, environ: Environ) -> AsyncGenerator[ReplayServices]:
    """Open the services of replays: the ledger, and a broker for wakes. See `open_services`."""
    require(settings, "broker_url", "ledger_bucket")
    keys = open_keys(settings, (Stage.WAKE,))
    async with AsyncExitStack() as stack:
        parts = _Parts(settings, environ, stack)
        ledger = parts.ledger()
        yield ReplayServices(broker=await parts.broker(ledger.now), keys=keys, ledger=ledger)


@asynccontextmanager
async def open_trigger(settings: Settings, environ: Environ) -> AsyncGenerator[TriggerServices]:
    """Open the services of the acceptance of uploads, which does not ask the backend. See `open_services`."""
    require(settings, "broker_url", "cos_bucket", "ledger_bucket", *_of_tickets(settings))
    keys, recipes = open_keys(settings, (Stage.CLEAN, Stage.NOTIFY, Stage.WAKE)), open_recipes(settings.scenes_file)
    async with AsyncExitStack() as stack:
        parts = _Parts(settings, environ, stack)
        data, ledger = parts.bucket(settings.cos_bucket), parts.ledger()
        broker = await parts.broker(ledger.now)
        yield TriggerServices(
            broker=broker,
            keys=keys,
            objects=data,
            bucket=settings.cos_bucket,
            ledger=ledger,
            policy=_policy(settings),
            recipes=recipes,
        )


@asynccontextmanager
async def open_api(settings: Settings, environ: Environ) -> AsyncGenerator[ApiServices]:
    """Open the services of the HTTP API, which calls no vendor. See `open_services`."""
    needed = ("broker_url", "cos_bucket", "ledger_bucket", "backend_url", "internal_callback_secret", "jwt_secret")
    require(settings, *needed, *_of_tickets(settings))
    keys, recipes = open_keys(settings, (Stage.CLEAN, Stage.NOTIFY, Stage.WAKE)), open_recipes(settings.scenes_file)
    async with AsyncExitStack() as stack:
        parts = _Parts(settings, environ, stack)
        data, ledger = parts.bucket(settings.cos_bucket), parts.ledger()
        yield ApiServices(
            broker=await parts.broker(ledger.now),
            keys=keys,
            objects=data,
            bucket=settings.cos_bucket,
            ledger=ledger,
            backend=parts.backend(ledger.now),
            policy=_policy(settings),
            recipes=recipes,
        )


@asynccontextmanager
async def open_services(
    settings: Settings, environ: Environ, *, vendors: bool = True, tickets: bool = True
) -> AsyncGenerator[Services]:
    """Open all services, and close them in the end.

    Args:
        settings: the settings.
        environ: returns the current environment: a cloud function's credentials change in it.
        vendors: True if paid vendors are needed.
        tickets: True if tickets are verified, which needs their secret if tickets are required.

    Raises:
        runtime.errors.BadSettings: a variable is missing or cannot be used.
    """
    needed = [name.lower() for name in REQUIRED]
    if tickets:
        needed += _of_tickets(settings)
    if vendors and settings.webhook_url:
        needed.append("webhook_secret")
    require(settings, *needed)
    keys, recipes = open_keys(settings, Stage if vendors else (Stage.WAKE,)), open_recipes(settings.scenes_file)
    async with AsyncExitStack() as stack:
        parts = _Parts(settings, environ, stack)
        data, ledger = parts.bucket(settings.cos_bucket), parts.ledger()
        broker, backend = await parts.broker(ledger.now), parts.backend(ledger.now)
        opened = parts.vendors() if vendors else Vendors()
        yield Services(
            broker=broker,
            keys=keys,
            objects=data,
            bucket=settings.cos_bucket,
            ledger=ledger,
            backend=backend,
            vendors=opened,
            chats=parts.chats() if vendors else {},
            fetcher=parts.fetcher(opened),
            policy=_policy(settings),
            recipes=recipes,
            webhooks=_webhooks(settings),
            identities=CallIdentities(settings.ledger_bucket, settings.internal_callback_secret),
            labels=_labels(settings),
            pauses=PauseReader(READ_EVERY_S),
        )


class _Parts:
    """Opener of one service after another; each is closed with the stack.

    Args:
        settings: the settings.
        environ: returns the current environment.
        stack: closes them.
    """

    def __init__(self, settings: Settings, environ: Environ, stack: AsyncExitStack) -> None:
        self._settings = settings
        self._environ = environ
        self._stack = stack

    def _credentials(self) -> Credentials:
        return credentials_in(self._environ(), self._settings)

    def bucket(self, name: str) -> Objects:
        from services.objects.cos import CosObjects

        settings = self._settings
        try:
            bucket = CosObjects(
                bucket=name,
                region=settings.tencentcloud_region,
                credentials=self._credentials,
                endpoint=settings.cos_endpoint,
                audit_biz_type=settings.cos_audit_biz_type,
                audit_text_biz_type=settings.cos_audit_text_biz_type,
                audit_video_biz_type=settings.cos_audit_video_biz_type,
            )
        except ValueError as error:
            names = "COS_BUCKET, LEDGER_BUCKET, TENCENTCLOUD_REGION, COS_ENDPOINT"
            raise BadSettings(f"one of {names} cannot be used: {error}") from error
        self._stack.push_async_callback(bucket.close)
        return bucket

    def ledger(self) -> Ledger:
        records = self.bucket(self._settings.ledger_bucket)
        return Ledger(records, clock=time.time, nonce=lambda: secrets.token_hex(8))

    async def broker(self, now: Callable[[], float]) -> Broker:
        options = broker_options(self._settings, self._environ)
        # A broker elsewhere delays by its own clock, and this machine's may be wrong.
        broker = await open_broker(options, clock=time.time if options.clock is Clock.MACHINE else now)
        self._stack.push_async_callback(broker.close)
        return broker

    def backend(self, now: Callable[[], float]) -> Backend:
        backend = Backend(
            base_url=self._settings.backend_url,
            secret=self._settings.internal_callback_secret,
            form=self._settings.callback_form,
            asks_state=self._settings.backend_state,
            clock=now,
        )
        self._stack.push_async_callback(backend.close)
        return backend

    def vendors(self) -> Vendors:
        opened = [InstrumentedVendor(vendor) for vendor in open_vendors(self._settings, RECIPES, self._credentials)]
        for vendor in opened:
            self._stack.push_async_callback(vendor.close)
        return Vendors(opened, draining=draining_of(self._settings), shares=limits(self._settings))

    def chats(self) -> dict[str, GuardedChat]:
        opened = {name: GuardedChat(InstrumentedChat(model)) for name, model in open_chats(self._settings).items()}
        for model in opened.values():
            self._stack.push_async_callback(model.close)
        return opened

    def fetcher(self, vendors: Vendors) -> Fetcher:
        hosts = {host for vendor in vendors.clients for host in vendor.result_hosts}
        fetcher = Fetcher(
            allowed_hosts=frozenset(hosts | set(_list(self._settings.fetch_hosts))),
            allow_private=frozenset(_list(self._settings.fetch_private_hosts)),
            max_bytes=_MAX_RESULT_BYTES,
            timeout=_FETCH_TIMEOUT,
        )
        self._stack.push_async_callback(fetcher.close)
        return fetcher


def _of_tickets(settings: Settings) -> tuple[str, ...]:
    return ("ticket_secret",) if settings.ticket_required else ()


def _webhooks(settings: Settings) -> Webhooks:
    return Webhooks(settings.webhook_url, settings.webhook_secret)


def _labels(settings: Settings) -> AiLabels:
    return AiLabels(
        settings.ai_label_producer,
        settings.ai_label_propagator,
        settings.ai_label_secret or settings.internal_callback_secret,
        visible=settings.ai_label_visible,
    )


def broker_options(settings: Settings, environ: Environ) -> BrokerOptions:
    """Return the options of the broker that BROKER_URL names.

    Args:
        settings: the settings.
        environ: returns the current environment: an expiring token is replaced in its file.

    Raises:
        transport.errors.BadBrokerUrl: they cannot be used; the text names the remedy.
    """

    def value(name: str) -> str:
        field = name.lower()
        found = getattr(load_settings(environ()), field) or getattr(settings, field)
        return found.reveal() if isinstance(found, Secret) else str(found)

    return options_of(settings.broker_url, value)


def _policy(settings: Settings) -> Policy:
    return Policy(
        ticket_secret=settings.ticket_secret,
        ticket_required=settings.ticket_required,
        upload_limit_s=settings.upload_limit_s,
        block_suspect=settings.audit_suspect == "block",
        audit_inputs=settings.audit_inputs,
        block_suspect_inputs=settings.audit_suspect_inputs == "block",
        sources=_sources(settings),
        expected_s=settings.vendor_expected_s,
        deadline_limit_s=settings.deadline_limit_s,
        vendor_full_pause_s=settings.vendor_full_pause_s,
        prompt_patience_s=settings.prompt_patience_s,
        vendors={kind: getattr(settings, f"{kind}_vendor") for kind, recipe in RECIPES.items() if recipe.others},
        daily_calls=daily_calls_of(settings),
    )


def _sources(settings: Settings) -> HostRules:
    hosts = frozenset(host.lower() for host in _list(settings.source_hosts))
    private = frozenset(pair.lower() for pair in _list(settings.source_private_hosts))
    return HostRules(hosts, private, any_public=not hosts)


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
