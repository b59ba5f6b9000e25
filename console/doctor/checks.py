"""The checks of a deployment, in order: each adapter lists its own; telemetry's collector is checked here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from importlib import import_module
from typing import Final

import msgspec

from console.doctor.keys_in_use import keys_in_use_checks
from producer.checks import backend_checks, webhook_checks
from recipes.shared.picture_rules import VISIBLE_LABEL, label_letters
from runtime.settings import Settings
from runtime.vendors import vendor_checks
from runtime.wiring import open_telemetry
from services.backend import UNFINISHED_PATH
from services.checks import Check
from services.errors import CheckFailed
from services.objects.bucket.setup import Bucket, rule_checks
from services.objects.checks import data_checks, label_checks, ledger_checks
from services.objects.port import VideoLabel
from services.objects.video_checks import CHECKED_SIDE, video_checks
from services.reach import Address
from tasks.context import Services
from tasks.topics import TOPICS
from tasks.video_labels import LABEL_S
from telemetry.instruments import SpanName
from telemetry.tracing import span
from transport.port import BrokerOptions

__all__ = ["broker_address", "checks_of"]

_COLLECTOR_S: Final = 10.0


def checks_of(
    settings: Settings, broker: BrokerOptions, services: Services, buckets: tuple[Bucket, Bucket]
) -> Sequence[Check]:
    """Return the checks of a deployment.

    Args:
        settings: of the deployment.
        broker: options of its broker.
        services: the checked services.
        buckets: the rules of the data bucket and of the ledger's.
    """
    nonce, clock = services.ledger.nonce, services.clock
    keys = "TENCENTCLOUD_SECRET_ID, TENCENTCLOUD_SECRET_KEY (or the role)"
    if settings.cos_endpoint:
        keys = f"COS_ENDPOINT, {keys}"
    brokers = [
        Check(one.name, partial(one.run, services.broker, TOPICS), one.remedy, needs=one.needs)
        for one in broker.checks()
    ]
    # Without a vendor no content is made by AI.
    labels = services.labels if services.vendors.clients else None
    data, ledger = (_bucket(settings, name) for name in (settings.cos_bucket, settings.ledger_bucket))
    data_rules, ledger_rules = rule_checks(buckets)
    found = [
        *_at(broker_address(settings), brokers),
        *_at(data, data_checks(services.objects, credentials=keys, nonce=nonce, clock=clock)),
        *_at(data, label_checks(services.objects, labels, nonce=nonce) if labels else ()),
        *_at(data, _video_checks(services, nonce) if _makes_videos(services) else ()),
        *_at(data, [data_rules]),
        *_at(ledger, ledger_checks(services.ledger.objects, credentials=keys, nonce=nonce)),
        *_at(ledger, [ledger_rules]),
        *_at(
            Address(settings.backend_url + UNFINISHED_PATH, "BACKEND_URL"),
            backend_checks(services.backend, clock=clock, nonce=nonce),
        ),
    ]
    if settings.webhook_url:
        address = Address(settings.webhook_url, "WEBHOOK_URL")
        found += _at(address, webhook_checks(services.webhooks, nonce=nonce))
    found += vendor_checks(settings, services.vendors, services.chats)
    found += keys_in_use_checks(services)
    if settings.otel_exporter_otlp_endpoint:
        remedy = (
            "OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL and OTEL_EXPORTER_OTLP_HEADERS must be what the"
            " collector wants; OTEL_METRICS_EXPORTER=none for one that takes no metrics"
        )
        address = Address(settings.otel_exporter_otlp_endpoint, "OTEL_EXPORTER_OTLP_ENDPOINT")
        found += _at(address, [Check("collector", partial(_collector, settings), remedy)])
    return found


def _makes_videos(services: Services) -> bool:
    """Return True if a kind that takes or makes videos has its vendor here."""
    forms = [form for recipe in services.recipes.values() for form in recipe.forms]
    return any((form.media == "video" or form.video_inputs) and services.vendors.all(form.vendor) for form in forms)


def _video_checks(services: Services, nonce: Callable[[], str]) -> Sequence[Check]:
    is_visible = services.labels is not None and services.labels.visible
    label = VideoLabel(VISIBLE_LABEL, label_letters(CHECKED_SIDE), LABEL_S) if is_visible else None
    return video_checks(services.objects, label, nonce=nonce)


def broker_address(settings: Settings) -> Address:
    """Return the broker's address; None for an embedded broker, which has no host to diagnose."""
    return Address(settings.broker_url, "BROKER_URL", ca=settings.broker_tls_ca, follows=True)


def _bucket(settings: Settings, name: str) -> Address:
    if settings.cos_endpoint:
        return Address(settings.cos_endpoint, "COS_ENDPOINT")
    host = f"{name}.cos.{settings.tencentcloud_region}.myqcloud.com"
    return Address(f"https://{host}", "the bucket's name and TENCENTCLOUD_REGION")


def _at(address: Address, checks: Sequence[Check]) -> list[Check]:
    return [msgspec.structs.replace(check, address=address) for check in checks]


async def _collector(settings: Settings) -> str:
    """Send a span to the collector in the same way as every other span."""
    try:
        import_module("telemetry.otel")
    except ImportError as error:
        raise CheckFailed("the libraries for it are not installed: install scf-workers[telemetry]") from error
    with closing(open_telemetry(msgspec.structs.replace(settings, trace_file=""), "doctor")) as exporters:
        with span(SpanName.HANDLE, "", of="doctor", function="doctor"):
            pass
        if not await asyncio.to_thread(exporters.flush, _COLLECTOR_S):
            raise CheckFailed("it did not take a span, or the metrics")
    return "it took a span"
