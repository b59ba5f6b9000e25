"""The doctor: looks at everything a deployment needs, and says what is wrong with the remedy.

Every check is one coroutine that raises when something is wrong; one that fails does not stop the others.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from messages.errors import ScfWorkersError
from runtime.errors import BadSettings
from runtime.outside import Outside
from runtime.settings import REQUIRED, Settings, load_settings, mask_secrets
from runtime.wiring import open_outside
from services.concurrency import Together
from services.errors import Exists
from services.objects.port import PictureRule
from services.tickets import MIN_SECRET_BYTES
from telemetry.redaction import redact_text
from transport.port import Broker

__all__ = ["MAX_CLOCK_DIFFERENCE", "RACERS", "Check", "Finding", "examine", "to_json"]

MAX_CLOCK_DIFFERENCE: Final = 5.0
"""Seconds that this machine's clock may differ from the store's."""

RACERS: Final = 50
"""Create-only writes at once, of which exactly one must win."""

_LIMIT_S: Final = 30.0
_TOPIC: Final = "doctor"

_PICTURE: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAGUlEQVR42mNsaGhgIAUwMZAIRjWMahg6GgDJTAGg54KQ4AAAAABJRU5ErkJggg=="
)
"""A small grey picture for the picture service."""

_SANDBOX_ONLY: Final[Mapping[str, Callable[[Settings], bool]]] = {
    "COS_ENDPOINT": lambda settings: bool(settings.cos_endpoint),
    "FETCH_PRIVATE_HOSTS": lambda settings: any(
        not pair.strip().endswith(":443") for pair in settings.fetch_private_hosts.split(",") if pair.strip()
    ),
    "TICKET_REQUIRED": lambda settings: not settings.ticket_required,
    "BROKER_URL": lambda settings: settings.broker_url.startswith("sqlite:"),
}
"""Variable -> whether it has a value that only a sandbox may have."""


class Finding(msgspec.Struct, frozen=True):
    """What one check found."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    """What to do, when it is not ok."""


class _Wrong(Exception):
    """Something answered, but not as it must."""


Check = Callable[[Outside], Awaitable[str]]


async def examine(environ: Mapping[str, str]) -> tuple[Finding, ...]:
    """Examine the deployment that an environment describes.

    Args:
        environ: the environment.
    """
    mask_secrets(environ)
    findings = [*_variables(environ), *_sandbox(environ)]
    if all(finding.ok for finding in findings if finding.name in REQUIRED):
        findings += await _outside(environ)
    return tuple(findings)


def _variables(environ: Mapping[str, str]) -> list[Finding]:
    """Each variable by itself, so that every broken one is named, not just the first."""
    findings: list[Finding] = []
    for field in msgspec.structs.fields(Settings):
        name = field.encode_name
        given = {key: environ[key] for key in (name, f"{name}_FILE") if environ.get(key)}
        try:
            load_settings(given)
        except BadSettings as error:
            findings.append(Finding(name, ok=False, detail=redact_text(str(error)), remedy=f"correct {name}"))
            continue
        if name in REQUIRED and not given:
            findings.append(Finding(name, ok=False, detail="not set", remedy=f"set {name}: docs/configuration.md"))
        elif given:
            findings.append(Finding(name, ok=True, detail="set"))
    return findings


def _sandbox(environ: Mapping[str, str]) -> list[Finding]:
    if environ.get("TENCENTCLOUD_RUNENV") != "SCF":
        return []
    try:
        settings = load_settings(environ)
    except BadSettings:
        return []
    return [
        Finding(f"{name} on SCF", ok=False, detail="a value for a sandbox", remedy=f"take {name} out of the function")
        for name, is_sandbox in _SANDBOX_ONLY.items()
        if is_sandbox(settings)
    ]


def _ticket_key(settings: Settings) -> Finding:
    name = "TICKET_SECRET" if settings.ticket_secret else "INTERNAL_CALLBACK_SECRET"
    size = len((settings.ticket_secret or settings.internal_callback_secret).reveal().encode())
    if size >= MIN_SECRET_BYTES or not settings.ticket_required:
        return Finding("tickets", ok=True, detail=f"verified with {name}")
    detail = f"{name} has {size} bytes, and verifying tickets needs {MIN_SECRET_BYTES}"
    return Finding(
        "tickets", ok=False, detail=detail, remedy="set TICKET_SECRET to what the backend signs tickets with"
    )


async def _outside(environ: Mapping[str, str]) -> list[Finding]:
    try:
        settings = load_settings(environ)
        async with open_outside(settings, lambda: environ) as out:
            checked = [await _run(name, check, remedy, out) for name, check, remedy in _checks(settings)]
            return [_ticket_key(settings), *checked]
    except ScfWorkersError as error:
        return [Finding("wiring", ok=False, detail=_said(error), remedy="correct what the text names")]


def _checks(settings: Settings) -> Sequence[tuple[str, Check, str]]:
    keys = "TENCENTCLOUD_SECRET_ID, TENCENTCLOUD_SECRET_KEY (or the role)"
    found: list[tuple[str, Check, str]] = [
        ("broker", _broker, "BROKER_URL: is the broker up, and may this key publish and consume?"),
        (
            "data bucket",
            _data,
            f"COS_BUCKET, TENCENTCLOUD_REGION, {keys}: reading, writing and deleting must be allowed",
        ),
        ("picture service", _pictures, "bind COS_BUCKET to Cloud Infinite, and allow the key to use it"),
        ("ledger: versioning", _versioning, "LEDGER_BUCKET must be a bucket on which versioning was never turned on"),
        ("ledger: create-only", _race, f"LEDGER_BUCKET, {keys}: writes with x-cos-forbid-overwrite must be allowed"),
        ("clock", _clock, "set this machine's clock; signatures and due times rest on it"),
        ("backend", _backend, "BACKEND_URL and INTERNAL_CALLBACK_SECRET must be the backend's own"),
    ]
    if settings.runninghub_api_key:
        found.append(("runninghub", _vendor, "RUNNINGHUB_URL and RUNNINGHUB_API_KEY: keys of .cn and .ai are separate"))
    return found


async def _run(name: str, check: Check, remedy: str, out: Outside) -> Finding:
    try:
        async with asyncio.timeout(_LIMIT_S):
            return Finding(name, ok=True, detail=await check(out))
    except TimeoutError:
        return Finding(name, ok=False, detail=f"no answer in {_LIMIT_S:g} s", remedy=remedy)
    except (ScfWorkersError, _Wrong) as error:
        return Finding(name, ok=False, detail=_said(error), remedy=remedy)


def _said(error: Exception) -> str:
    return redact_text(str(error) if isinstance(error, _Wrong) else f"{type(error).__name__}: {error}")


async def _broker(out: Outside) -> str:
    sent = await out.broker.publish(_TOPIC, b"doctor")
    await _receive(out.broker, sent)
    return "a message was published, delivered and acked"


async def _receive(broker: Broker, sent: str) -> None:
    consumer = await broker.subscribe((_TOPIC,), _TOPIC)
    try:
        got = ""
        while got != sent:
            delivery = await consumer.receive()
            await consumer.ack(delivery)
            got = delivery.message_id
    finally:
        await consumer.close()


async def _data(out: Outside) -> str:
    key = f"staging/doctor/{out.ledger.nonce()}.txt"
    await out.objects.put(key, b"doctor")
    try:
        if (await out.objects.get(key)).body != b"doctor":
            raise _Wrong("what was written is not what was read")
    finally:
        await out.objects.delete([key])
    return "an object was written, read and deleted"


async def _pictures(out: Outside) -> str:
    stem = f"staging/doctor/{out.ledger.nonce()}"
    keys = [f"{stem}.png", f"{stem}.jpg"]
    try:
        await out.objects.put(keys[0], _PICTURE, content_type="image/png")
        await out.objects.process(keys[0], [PictureRule(keys[1], "imageMogr2/format/jpg")])
    finally:
        await out.objects.delete(keys)
    return "a picture was converted"


async def _versioning(out: Outside) -> str:
    if await out.ledger.objects.versioned():
        raise _Wrong("versioning is or was on: create-only writes do not hold there")
    return "never versioned"


async def _race(out: Outside) -> str:
    key = f"doctor/{out.ledger.nonce()}"

    async def write(n: int) -> bool:
        try:
            await out.ledger.objects.put_new(key, str(n).encode())
        except Exists:
            return False
        return True

    try:
        async with Together() as group:
            writes = [group.create_task(write(n)) for n in range(RACERS)]
        winners = sum(write.result() for write in writes)
    finally:
        await out.ledger.objects.delete([key])
    if winners != 1:
        raise _Wrong(f"{winners} of {RACERS} create-only writes at once succeeded, exactly one must")
    return f"{RACERS} writes at once, one winner"


async def _clock(out: Outside) -> str:
    key = f"staging/doctor/{out.ledger.nonce()}.txt"
    before = out.clock()
    info = await out.objects.put(key, b"doctor")
    await out.objects.delete([key])
    # Dates have whole seconds, cut off: the true time lies within the second after.
    off = max(before - info.date - 1, info.date - out.clock(), 0.0)
    if off > MAX_CLOCK_DIFFERENCE:
        raise _Wrong(f"this machine's clock is off by {off:.0f} s")
    return f"off by less than {max(1.0, off):.0f} s"


async def _backend(out: Outside) -> str:
    page = await out.backend.unfinished(600)
    return f"it takes our signature; {len(page.rows)} unfinished tasks older than 10 min on its first page"


async def _vendor(out: Outside) -> str:
    from services.errors import VendorFull

    for vendor in out.vendors.values():
        try:
            await vendor.check_room()
        except VendorFull:
            return "it answers; no free slot just now"
    return "it answers, and has a free slot"


def to_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """The findings as `--json` prints them."""
    return {"ok": all(finding.ok for finding in findings), "findings": msgspec.to_builtins(findings)}
