"""What the doctor asks of everything outside: each check is one coroutine that raises when something is wrong."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from http import HTTPStatus
from importlib import import_module
from typing import Final

import msgspec

from messages.errors import ScfWorkersError
from messages.keys import RunId
from producer.sweep_rules import oddity_of
from runtime.settings import Settings
from runtime.wiring import open_telemetry
from services.errors import VendorFull
from services.objects.port import PictureRule
from tasks.context import Services
from tasks.topics import TOPICS
from telemetry.instruments import SpanName
from telemetry.tracing import span
from transport.port import BrokerCheck, BrokerOptions

__all__ = ["MAX_CLOCK_DIFFERENCE", "NEEDS", "RACERS", "Check", "Wrong", "checks_of"]

MAX_CLOCK_DIFFERENCE: Final = 5.0
"""Seconds that this machine's clock may differ from the store's."""

RACERS: Final = 50
"""Create-only writes at once, of which exactly one must win."""

NEEDS: Final[Mapping[str, str]] = {
    "picture service": "data bucket",
    "audit": "picture service",
    "clock": "data bucket",
}
"""Check -> the one before it without which it would only fail too, with a remedy for what is not wrong."""

_PAGES: Final = 20
"""Pages of the backend's list that are read."""
_ROWS_NAMED: Final = 5
_WEBHOOK_S: Final = 20.0
_COLLECTOR_S: Final = 10.0

_PICTURE: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAGUlEQVR42mNsaGhgIAUwMZAIRjWMahg6GgDJTAGg54KQ4AAAAABJRU5ErkJggg=="
)
"""A small grey picture for the picture service."""


class Wrong(Exception):
    """Something answered, but not as it must."""


Check = Callable[[Services], Awaitable[str]]
"""Returns what it saw. Raises `Wrong` or a `ScfWorkersError`."""


def checks_of(settings: Settings, broker: BrokerOptions) -> Sequence[tuple[str, Check, str]]:
    """The checks that a deployment needs: name, check, and the remedy for when it fails.

    Args:
        settings: of the deployment.
        broker: options of its broker, which bring checks of their own.
    """
    keys = "TENCENTCLOUD_SECRET_ID, TENCENTCLOUD_SECRET_KEY (or the role)"
    if settings.cos_endpoint:
        keys = f"COS_ENDPOINT, {keys}"
    found: list[tuple[str, Check, str]] = [
        *((check.name, partial(_of_broker, check), check.remedy) for check in broker.checks()),
        (
            "data bucket",
            _data,
            f"COS_BUCKET, TENCENTCLOUD_REGION, {keys}: read, write, copy and delete must be allowed; the clock right",
        ),
        ("picture service", _pictures, "bind COS_BUCKET to Cloud Infinite, and allow the key to use it"),
        ("audit", _audit, "turn the picture audit on for COS_BUCKET; COS_AUDIT_BIZ_TYPE must be one of its policies"),
        (
            "ledger: versioning",
            _versioning,
            f"LEDGER_BUCKET must be a bucket on which versioning was never turned on; {keys}: asking must be allowed",
        ),
        ("ledger: create-only", _race, f"LEDGER_BUCKET, {keys}: writes with x-cos-forbid-overwrite must be allowed"),
        ("clock", _clock, "set this machine's clock; signatures and due times rest on it"),
        ("backend", _backend, "BACKEND_URL and INTERNAL_CALLBACK_SECRET must be the backend's own"),
    ]
    if settings.webhook_url:
        remedy = "WEBHOOK_URL must be the public address of producer.webhook, and WEBHOOK_SECRET the same there as here"
        found.append(("webhook", _webhook, remedy))
    if settings.runninghub_api_key:
        found.append(("runninghub", _vendor, "RUNNINGHUB_URL and RUNNINGHUB_API_KEY: keys of .cn and .ai are separate"))
    if settings.otel_exporter_otlp_endpoint:
        remedy = (
            "OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL and OTEL_EXPORTER_OTLP_HEADERS must be what the"
            " collector wants; OTEL_METRICS_EXPORTER=none for one that takes no metrics"
        )
        found.append(("collector", partial(_collector, settings), remedy))
    return found


@asynccontextmanager
async def _tidied(clear: Callable[[], Awaitable[None]]) -> AsyncGenerator[None]:
    """Clear away what a check has made. What goes wrong with that is told only where nothing went wrong before."""
    try:
        yield
    except BaseException:
        with suppress(ScfWorkersError):
            await clear()
        raise
    await clear()


async def _of_broker(check: BrokerCheck, services: Services) -> str:
    return await check.run(services.broker, TOPICS)


async def _data(services: Services) -> str:
    stem = f"staging/doctor/{services.ledger.nonce()}"
    keys = [f"{stem}.txt", f"{stem}-copy.txt"]
    async with _tidied(lambda: services.objects.delete(keys)):
        info = await services.objects.put(keys[0], b"doctor")
        await services.objects.copy(*keys, if_match=info.etag)
        if (await services.objects.get(keys[1])).body != b"doctor":
            raise Wrong("what was written is not what was read")
    return "an object was written, copied, read and deleted"


@asynccontextmanager
async def _converted(services: Services, rule: str) -> AsyncGenerator[str]:
    """Key of a picture that the picture service has made; gone in the end."""
    stem = f"staging/doctor/{services.ledger.nonce()}"
    keys = [f"{stem}.png", f"{stem}.jpg"]
    async with _tidied(lambda: services.objects.delete(keys)):
        await services.objects.put(keys[0], _PICTURE, content_type="image/png")
        await services.objects.process(keys[0], [PictureRule(keys[1], rule)])
        yield keys[1]


async def _pictures(services: Services) -> str:
    async with _converted(services, "imageMogr2/format/jpg"):
        return "a picture was converted"


async def _audit(services: Services) -> str:
    # An audit looks at nothing too small to show something.
    async with _converted(services, "imageMogr2/thumbnail/256x256!/format/jpg") as key:
        await services.objects.audit([key])
    return "a picture was audited"


async def _versioning(services: Services) -> str:
    if await services.ledger.objects.versioned():
        raise Wrong("versioning is or was on: create-only writes do not hold there")
    return "never versioned"


async def _race(services: Services) -> str:
    winners = await services.ledger.race(RACERS, "doctor/")
    if winners != 1:
        raise Wrong(f"{winners} of {RACERS} create-only writes at once succeeded, exactly one must")
    return f"{RACERS} writes at once, one winner"


async def _clock(services: Services) -> str:
    key = f"staging/doctor/{services.ledger.nonce()}.txt"
    before = services.clock()
    info = await services.objects.put(key, b"doctor")
    await services.objects.delete([key])
    # Dates have whole seconds, cut off: the true time lies within the second after.
    off = max(before - info.date - 1, info.date - services.clock(), 0.0)
    if off > MAX_CLOCK_DIFFERENCE:
        raise Wrong(f"this machine's clock is off by {off:.0f} s")
    return f"off by less than {max(1.0, off):.0f} s"


async def _backend(services: Services) -> str:
    listed, wrong, cursor = 0, list[str](), ""
    for _ in range(_PAGES):
        page = await services.backend.unfinished(600, cursor)
        listed += len(page.rows)
        wrong += [f"unreadable: {example}" for example in page.examples]
        odd = [(row, oddity_of(row, services.clock())) for row in page.rows]
        wrong += [f"task {row.task[:80]!r} step {row.step}: {why}" for row, why in odd if why]
        cursor = page.cursor or ""
        if not cursor or len(wrong) >= _ROWS_NAMED:
            break
    if wrong:
        rows = "; ".join(wrong[:_ROWS_NAMED])
        raise Wrong(f"nothing guards these rows of its list of unfinished tasks (docs/backend.md): {rows}")
    return f"it takes our signature; {listed} unfinished tasks older than 10 min"


async def _vendor(services: Services) -> str:
    for vendor in services.vendors.values():
        try:
            await vendor.check_room()
        except VendorFull:
            return "it answers; no free slot just now"
    return "it answers, and has a free slot"


async def _webhook(services: Services) -> str:
    """The function knows our path, and says that a GET is no call of a vendor's; so nothing follows from it."""
    import httpx

    url = services.webhooks.url("doctor", RunId("doctor", services.ledger.nonce()), 1, 1)
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=_WEBHOOK_S, follow_redirects=False) as client:
            status = (await client.get(url)).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        # Its text may quote the URL, whose end is a secret.
        raise Wrong(f"no answer: {type(error).__name__}") from None
    if status == HTTPStatus.FORBIDDEN:
        raise Wrong("it does not know a path signed with our secret")
    if status != HTTPStatus.METHOD_NOT_ALLOWED:
        raise Wrong(f"what answers there ({status}) is not producer.webhook")
    return "it answers, and knows our paths"


async def _collector(settings: Settings, _: Services) -> str:
    """One span goes there, by the way that every other one takes."""
    try:
        import_module("telemetry.otel")
    except ImportError as error:
        raise Wrong("the libraries for it are not installed: install scf-workers[telemetry]") from error
    with closing(open_telemetry(msgspec.structs.replace(settings, trace_file=""), "doctor")) as outlets:
        with span(SpanName.HANDLE, "", of="doctor", function="doctor"):
            pass
        if not await asyncio.to_thread(outlets.flush, _COLLECTOR_S):
            raise Wrong("it did not take a span, or the metrics")
    return "it took a span"
