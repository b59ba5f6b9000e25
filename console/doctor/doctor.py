"""The doctor: checks everything that a deployment needs, and reports each fault with its remedy.

Every check is a coroutine that raises an error for a fault; a failed check stops only those that depend on it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from console.doctor.checks import broker_address, checks_of
from messages.errors import Outage, ScfWorkersError
from runtime.buckets import open_buckets
from runtime.errors import BadSettings
from runtime.settings import REQUIRED, Settings, load_settings, mask_secrets
from runtime.settings_rules import hosts_of, is_loopback
from runtime.wiring import broker_options, open_recipes, open_services
from services.checks import Check
from services.errors import CheckFailed
from services.reach import Address, diagnose
from tasks.topics import TOPICS
from telemetry.exporters import pairs
from telemetry.redaction import redact_text
from telemetry.secrets import Secret
from transport import options_of
from transport.errors import BadBrokerUrl, BrokerDown
from transport.port import Clock

__all__ = ["Finding", "examine", "to_json"]

_LIMIT_S: Final = 30.0
_AILS: Final = re.compile(r"(?:HTTP|answered|:) (?:429|5\d\d)\b")
"""Status, in an error's text, of an answer that shows a failure of the service itself."""

_THEIRS: Final = "it is reached and fails by itself: wait, or ask its operator; key and address need no change for that"
_SPARE_BROKER: Final = "sqlite:///:memory:"


def _is_here(url: str) -> bool:
    """Return True if a URL leads to this machine."""
    return any(is_loopback(host) for host in hosts_of(url))


def _is_of_this_machine(settings: Settings) -> bool:
    """Return True if the broker is embedded."""
    try:
        return broker_options(settings, dict).clock is Clock.MACHINE
    except BadBrokerUrl:
        return False


_SANDBOX_ONLY: Final[Mapping[str, Callable[[Settings], bool]]] = {
    "ENVIRONMENT": lambda settings: settings.environment != "production",
    "COS_ENDPOINT": lambda settings: bool(settings.cos_endpoint),
    "FETCH_PRIVATE_HOSTS": lambda settings: any(
        not pair.strip().endswith(":443") for pair in settings.fetch_private_hosts.split(",") if pair.strip()
    ),
    "SOURCE_PRIVATE_HOSTS": lambda settings: any(
        not pair.strip().endswith(":443") for pair in settings.source_private_hosts.split(",") if pair.strip()
    ),
    "TICKET_REQUIRED": lambda settings: not settings.ticket_required,
    "BROKER_URL": lambda settings: _is_of_this_machine(settings) or _is_here(settings.broker_url),
    "BACKEND_URL": lambda settings: _is_here(settings.backend_url),
    "RUNNINGHUB_URL": lambda settings: _is_here(settings.runninghub_url),
    "ARK_URL": lambda settings: _is_here(settings.ark_url),
    "VOD_URL": lambda settings: _is_here(settings.vod_url),
    "TOKENHUB_URL": lambda settings: _is_here(settings.tokenhub_url),
    "WEBHOOK_URL": lambda settings: _is_here(settings.webhook_url),
    "TRACE_FILE": lambda settings: bool(settings.trace_file),
}
"""Variable -> test for a value that only a sandbox may have."""


class Finding(msgspec.Struct, frozen=True):
    """Result of a check."""

    name: str
    ok: bool | None
    """None: not checked, because of the finding that `detail` names."""
    detail: str
    remedy: str = ""
    """Remedy, if it is not ok."""


async def examine(environ: Mapping[str, str]) -> tuple[Finding, ...]:
    """Check the deployment that an environment describes.

    Args:
        environ: the environment.
    """
    mask_secrets(environ)
    variables = _variables(environ)
    if all(finding.ok for finding in variables):
        variables += _together(environ)
    findings = [*variables, *_sandbox(environ)]
    # An invalid variable would make the other checks misleading.
    if all(finding.ok for finding in variables):
        findings += await _outside(environ)
    return tuple(findings)


def _variables(environ: Mapping[str, str]) -> list[Finding]:
    """Check each variable by itself, so that every broken one is named, not just the first."""
    findings: list[Finding] = []
    lenience = _lenience(environ)
    for field in msgspec.structs.fields(Settings):
        name = field.encode_name
        given = {key: environ[key] for key in (name, f"{name}_FILE") if environ.get(key)}
        try:
            _try(name, load_settings({**lenience, **given}))
        except BadSettings as error:
            findings.append(Finding(name, ok=False, detail=redact_text(str(error)), remedy=f"correct {name}"))
            continue
        if name in REQUIRED and not given:
            findings.append(Finding(name, ok=False, detail="not set", remedy=f"set {name}: docs/configuration.md"))
        elif given:
            findings.append(Finding(name, ok=True, detail="set"))
    return findings


def _lenience(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that decide about others; an invalid one counts as not set."""
    found: dict[str, str] = {}
    for name in ("ENVIRONMENT", "ALLOW_UNSAFE"):
        with suppress(BadSettings):
            load_settings(given := {name: environ.get(name, "")})
            found |= given
    return found


def _together(environ: Mapping[str, str]) -> list[Finding]:
    """Return the findings about combinations of variables that are valid by themselves."""
    try:
        load_settings(environ)
    except BadSettings as error:
        remedy = "correct what the text names: docs/configuration.md"
        return [Finding("variables", ok=False, detail=redact_text(str(error)), remedy=remedy)]
    return []


def _try(name: str, settings: Settings) -> None:
    """Use a variable's value as the product will, where its form alone proves little."""
    try:
        match name:
            case "TRACE_FILE" if settings.trace_file:
                with Path(settings.trace_file).open("ab"):
                    pass
            case "HEALTH_FILE" if settings.health_file:
                _check_place(Path(settings.health_file))
            case "SCENES_FILE":
                open_recipes(settings.scenes_file)
            case "WORK_TOPICS":
                _check_topics(settings.topics)
            case "BROKER_URL" if settings.broker_url:
                _check_scheme(settings.broker_url)
            case "BROKER_TLS_CA" if settings.broker_tls_ca:
                ssl.create_default_context(cafile=settings.broker_tls_ca)
            case "OTEL_EXPORTER_OTLP_HEADERS" | "OTEL_RESOURCE_ATTRIBUTES":
                _check_pairs(name, getattr(settings, name.lower()))
            case _:
                pass
    except OSError as error:
        raise BadSettings(f"{name} names a file that cannot be used: {error.strerror or error}") from error


def _check_scheme(url: str) -> None:
    """Check that there is a broker for a URL."""
    try:
        options_of(url, lambda _: "")
    except BadBrokerUrl as error:
        raise BadSettings(f"BROKER_URL cannot be used: {error}") from error


def _check_place(path: Path) -> None:
    """Check that a file can be made, without making it: the file would claim that a pump runs."""
    if path.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, "no file can be made there")


def _check_topics(topics: Sequence[str]) -> None:
    known = [topic.name for topic in TOPICS]
    if unknown := [topic for topic in topics if topic not in known]:
        raise BadSettings(f"WORK_TOPICS names {', '.join(unknown)}; there are {', '.join(known)}")


def _check_pairs(name: str, listed: Secret) -> None:
    """Check that a value consists of pairs; the value is not shown, because it may be a secret."""
    for number, part in enumerate(listed.reveal().split(","), 1):
        if part.strip() and not pairs(part):
            raise BadSettings(f"{name} cannot be used: its part {number} is no name=value pair")


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
    if settings.ticket_required and not settings.ticket_secret:
        remedy = "set TICKET_SECRET to what the backend signs tickets with"
        return Finding("tickets", ok=False, detail="TICKET_SECRET is not set", remedy=remedy)
    asked = "" if settings.ticket_required else "; none is asked for: see TICKET_REQUIRED in docs/configuration.md"
    return Finding("tickets", ok=True, detail=f"verified with TICKET_SECRET{asked}")


async def _outside(environ: Mapping[str, str]) -> list[Finding]:
    try:
        return await _ask(environ)
    except (BadBrokerUrl, BrokerDown) as error:
        # Run all other checks with a broker that cannot fail.
        rest = await _outside({**environ, "BROKER_URL": _SPARE_BROKER})
        spare = {check.name for check in options_of(_SPARE_BROKER, lambda _: "").checks()}
        broker = await _failed("broker", _said(error), _broker_remedy(environ), broker_address(load_settings(environ)))
        return [broker, *(finding for finding in rest if finding.name not in spare)]
    except ScfWorkersError as error:
        return [Finding("wiring", ok=False, detail=_said(error), remedy="correct what the text names")]


def _broker_remedy(environ: Mapping[str, str]) -> str:
    try:
        return broker_options(load_settings(environ), lambda: environ).remedy
    except BadBrokerUrl:
        return "BROKER_URL and the other BROKER_ variables must name a broker: docs/configuration.md"


async def _ask(environ: Mapping[str, str]) -> list[Finding]:
    settings = load_settings(environ)
    async with (
        open_services(settings, lambda: environ, tickets=False) as services,
        open_buckets(settings, lambda: environ) as buckets,
    ):
        broker = broker_options(settings, lambda: environ)
        return [_ticket_key(settings), *await _checked(checks_of(settings, broker, services, buckets))]


async def _checked(checks: Sequence[Check]) -> list[Finding]:
    findings: list[Finding] = []
    causes: dict[str, str] = {}
    for check in checks:
        if cause := causes.get(check.needs):
            finding = Finding(check.name, ok=None, detail=f"not examined: see {cause}")
        else:
            finding = await _run(check)
        if not finding.ok:
            causes[check.name] = cause or check.name
        findings.append(finding)
    return findings


async def _run(check: Check) -> Finding:
    try:
        async with asyncio.timeout(_LIMIT_S):
            return Finding(check.name, ok=True, detail=await check.run())
    except TimeoutError:
        return await _failed(check.name, f"no answer in {_LIMIT_S:g} s", check.remedy, check.address)
    except CheckFailed as error:
        if error.remedy:
            return Finding(check.name, ok=False, detail=_said(error), remedy=error.remedy)
        return await _failed(check.name, _said(error), check.remedy, check.address)
    except ScfWorkersError as error:
        ails = isinstance(error, Outage) and _AILS.search(str(error))
        return await _failed(check.name, _said(error), _THEIRS if ails else check.remedy, check.address)


async def _failed(name: str, detail: str, remedy: str, address: Address | None) -> Finding:
    """Return a finding, with the fault of its address in place of the text if there is one."""
    if address is not None and (fault := await diagnose(address)):
        detail, remedy = redact_text(fault.detail), fault.remedy
    return Finding(name, ok=False, detail=detail, remedy=remedy)


def _said(error: ScfWorkersError) -> str:
    return redact_text(str(error))


def to_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the findings as `--json` prints them."""
    return {"ok": all(finding.ok for finding in findings), "findings": msgspec.to_builtins(findings)}
