"""Settings -> objects. Adapters are imported late, each only where its settings ask for it."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, TypeVar

from recipes.table import RECIPES
from runtime.credentials import credentials_in
from runtime.errors import BadSettings
from runtime.settings import REQUIRED, Settings, load_settings, require
from runtime.vendors import open_vendors
from services.backend import Backend
from services.fetch import Fetcher
from services.objects.port import Objects
from services.vendors.instrumented import InstrumentedVendor
from services.vendors.port import Vendor
from tasks.calls.identity import CallIdentities
from tasks.calls.webhook_paths import Webhooks
from tasks.context import Policy, Services
from tasks.ledger.ledger import Ledger
from telemetry.exporters import Exporters, Options, open_exporters
from telemetry.secrets import Secret
from transport import open_broker, options_of
from transport.port import BrokerOptions, Clock

__all__ = ["broker_options", "open_services", "open_telemetry"]

T = TypeVar("T")

_MAX_RESULT_BYTES: Final = 2 << 30
"""Longest result that is brought home; video included."""

_FETCH_TIMEOUT: Final = 30.0


def open_telemetry(settings: Settings, service: str) -> Exporters:
    """Tell what is done from now on where the settings want it told.

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
        raise BadSettings(f"TRACE_FILE cannot be written: {type(error).__name__}") from error


@asynccontextmanager
async def open_services(
    settings: Settings,
    environ: Callable[[], Mapping[str, str]],
    *,
    vendors: bool = True,
    tickets: bool = True,
    webhooks: bool = False,
) -> AsyncGenerator[Services]:
    """Open the services, and close them in the end.

    Args:
        settings: the settings.
        environ: gives the environment as it is now: a cloud function's credentials change in it.
        vendors: whether paid vendors are needed; a producer needs none.
        tickets: whether tickets are verified, which needs their secret where tickets are required.
        webhooks: whether vendors' calls are verified, which needs the secret that signs their paths.

    Raises:
        runtime.errors.BadSettings: a variable is missing or cannot be used.
    """
    require(settings, *_needed(settings, vendors=vendors, tickets=tickets, webhooks=webhooks))
    async with AsyncExitStack() as stack:
        data = _bucket(settings, settings.cos_bucket, environ)
        stack.push_async_callback(data.close)
        records = _bucket(settings, settings.ledger_bucket, environ)
        stack.push_async_callback(records.close)
        ledger = Ledger(records, clock=time.time, nonce=lambda: secrets.token_hex(8))
        options = broker_options(settings, environ)
        # A broker elsewhere delays by its own clock, and this machine's may be wrong.
        clock = time.time if options.clock is Clock.MACHINE else ledger.now
        broker = await open_broker(options, clock=clock)
        stack.push_async_callback(broker.close)
        backend = Backend(
            base_url=settings.backend_url,
            secret=settings.internal_callback_secret,
            form=settings.callback_form,
            asks_state=settings.backend_state,
            clock=ledger.now,
        )
        stack.push_async_callback(backend.close)
        clients = open_vendors(settings, RECIPES) if vendors else {}
        opened = {name: InstrumentedVendor(vendor) for name, vendor in clients.items()}
        for vendor in opened.values():
            stack.push_async_callback(vendor.close)
        fetcher = _fetcher(settings, opened)
        stack.push_async_callback(fetcher.close)
        yield Services(
            broker=broker,
            objects=data,
            bucket=settings.cos_bucket,
            ledger=ledger,
            backend=backend,
            vendors=opened,
            fetcher=fetcher,
            policy=_policy(settings),
            webhooks=Webhooks(settings.webhook_url, settings.webhook_secret),
            identities=CallIdentities(settings.ledger_bucket, settings.internal_callback_secret),
        )


def _needed(settings: Settings, *, vendors: bool, tickets: bool, webhooks: bool) -> Iterator[str]:
    yield from (name.lower() for name in REQUIRED)
    if tickets and settings.ticket_required:
        yield "ticket_secret"
    if webhooks or (vendors and settings.webhook_url):
        yield "webhook_secret"


def broker_options(settings: Settings, environ: Callable[[], Mapping[str, str]]) -> BrokerOptions:
    """The options of the broker that BROKER_URL names.

    Args:
        settings: the settings.
        environ: gives the environment as it is now: a token that runs out is replaced in its file.

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
        expected_s=settings.vendor_expected_s,
        vendor_full_pause_s=settings.vendor_full_pause_s,
    )


def _bucket(settings: Settings, bucket: str, environ: Callable[[], Mapping[str, str]]) -> Objects:
    from services.objects.cos import CosObjects

    try:
        return CosObjects(
            bucket=bucket,
            region=settings.tencentcloud_region,
            credentials=lambda: credentials_in(environ(), settings),
            endpoint=settings.cos_endpoint,
            audit_biz_type=settings.cos_audit_biz_type,
        )
    except ValueError as error:
        names = "COS_BUCKET, LEDGER_BUCKET, TENCENTCLOUD_REGION, COS_ENDPOINT"
        raise BadSettings(f"one of {names} cannot be used: {error}") from error


def _fetcher(settings: Settings, vendors: Mapping[str, Vendor]) -> Fetcher:
    hosts = {host for vendor in vendors.values() for host in vendor.result_hosts} | set(_list(settings.fetch_hosts))
    return Fetcher(
        allowed_hosts=frozenset(hosts),
        allow_private=frozenset(_list(settings.fetch_private_hosts)),
        max_bytes=_MAX_RESULT_BYTES,
        timeout=_FETCH_TIMEOUT,
    )


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
