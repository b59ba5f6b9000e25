"""Configuration and command line of a broker, as values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

__all__ = ["ADMIN_ROLE", "STORE_PASSWORD", "Plan", "Ports", "command_line", "configuration"]

ADMIN_ROLE: Final = "admin"
"""Role with all rights on a broker with authentication."""

STORE_PASSWORD: Final = "loopback"  # noqa: S105 - protects a certificate for 127.0.0.1 in a private folder

_HERE: Final = Path(__file__).parent

_OPENED: Final = (
    "java.base/java.io",
    "java.base/java.nio",
    "java.base/java.util.zip",
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.platform",
    "java.management/sun.management",
    "jdk.management/com.sun.management.internal",
)
"""Packages that the broker's libraries access by reflection; the JVM forbids it by default."""

_JVM: Final = (
    # Only the fast compiler: the broker starts in half the time and uses less memory.
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    "-Xms128m",
    "-Xmx320m",
    "-XX:MaxDirectMemorySize=256m",
    "-Djava.net.preferIPv4Stack=true",
    "-Dio.netty.tryReflectionSetAccessible=true",
    "-Dorg.apache.pulsar.shade.io.netty.tryReflectionSetAccessible=true",
    "-Dlog4j2.is.webapp=false",
    "-Dbookkeeper.metadata.bookie.drivers=org.apache.pulsar.metadata.bookkeeper.PulsarMetadataBookieDriver",
    "-Dbookkeeper.metadata.client.drivers=org.apache.pulsar.metadata.bookkeeper.PulsarMetadataClientDriver",
)


class Ports(msgspec.Struct, frozen=True):
    """TCP ports on 127.0.0.1."""

    pulsar: int
    http: int
    bookie: int
    tls: int


class Plan(msgspec.Struct, frozen=True):
    """Parameters of a broker: kept in its folder, so that a restart uses them."""

    ports: Ports
    guarded: bool
    """Require tokens, and serve TLS too."""
    settings: Mapping[str, str]
    """Lines of its configuration that differ from `standalone.conf`."""


def configuration(plan: Plan, folder: Path, token: str) -> str:
    """Return the broker's configuration file.

    Args:
        plan: parameters of the broker.
        folder: its folder.
        token: token of the administrator, with which a broker with authentication calls itself.
    """
    lines = {
        "brokerServicePort": str(plan.ports.pulsar),
        "webServicePort": str(plan.ports.http),
        "bindAddress": "127.0.0.1",
        **(_guard(plan, folder, token) if plan.guarded else {}),
        **plan.settings,
    }
    base = (_HERE / "standalone.conf").read_text(encoding="utf-8")
    return base + "".join(f"{name}={value}\n" for name, value in lines.items())


def _guard(plan: Plan, folder: Path, token: str) -> dict[str, str]:
    return {
        "authenticationEnabled": "true",
        "authenticationProviders": "org.apache.pulsar.broker.authentication.AuthenticationProviderToken",
        "tokenSecretKey": f"file://{folder / 'token.key'}",
        # A new token is requested within a second after the old one expired.
        "authenticationRefreshCheckSeconds": "1",
        "authorizationEnabled": "true",
        "superUserRoles": ADMIN_ROLE,
        "brokerClientAuthenticationPlugin": "org.apache.pulsar.client.impl.auth.AuthenticationToken",
        "brokerClientAuthenticationParameters": json.dumps({"token": token}),
        "brokerServicePortTls": str(plan.ports.tls),
        "tlsEnabledWithKeyStore": "true",
        "tlsKeyStoreType": "PKCS12",
        "tlsKeyStore": str(folder / "broker.p12"),
        "tlsKeyStorePassword": STORE_PASSWORD,
    }


def command_line(java: str, jars: Path, plan: Plan, folder: Path) -> list[str]:
    """Return the broker's command line.

    Args:
        java: path of the program.
        jars: folder of the distribution's jars.
        plan: parameters of the broker.
        folder: its folder; the command line contains its name, by which the process is recognized.
    """
    opened = [word for module in _OPENED for word in ("--add-opens", f"{module}=ALL-UNNAMED")]
    return [
        java,
        *_JVM,
        *opened,
        # Native libraries are unpacked at each start, and a killed broker does not delete them.
        f"-Djava.io.tmpdir={folder / 'tmp'}",
        f"-Dscf.log={folder / 'broker.log'}",
        f"-Dlog4j.configurationFile={_HERE / 'log4j2.properties'}",
        *("-cp", f"{jars}/*"),
        "org.apache.pulsar.PulsarStandaloneStarter",
        *("-c", str(folder / "broker.conf")),
        *("-nfw", "-nss"),
        *("-a", "127.0.0.1"),
        f"--metadata-dir={folder / 'metadata'}",
        f"--bookkeeper-dir={folder / 'bookkeeper'}",
        f"--bookkeeper-port={plan.ports.bookie}",
    ]
