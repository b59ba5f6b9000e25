"""Credentials for COS, read again for every call: on the platform they belong to a role, and change."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.errors import BadSettings
from runtime.settings import ROLE, Settings
from services.objects.credentials import Credentials
from telemetry.redaction import register
from telemetry.secrets import Secret

__all__ = ["credentials_in", "forbid_core_dumps"]


def credentials_in(environ: Mapping[str, str], settings: Settings) -> Credentials:
    """Return the role's credentials if the platform provides them, else the configured key pair.

    Cloud functions that run with a role have TENCENTCLOUD_SECRETID, TENCENTCLOUD_SECRETKEY and
    TENCENTCLOUD_SESSIONTOKEN (Serverless Cloud Function, environment variables).

    Raises:
        runtime.errors.BadSettings: there are none.
    """
    role = {name: Secret(environ.get(name, "")) for name in ROLE}
    secret_id, key, token = role.values()
    if secret_id and key:
        for name, secret in role.items():
            register(secret, of=name)
        return Credentials(secret_id, key, token)
    if settings.tencentcloud_secret_id and settings.tencentcloud_secret_key:
        return Credentials(settings.tencentcloud_secret_id, settings.tencentcloud_secret_key)
    raise BadSettings("set TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY, or give the function a role")


def forbid_core_dumps() -> None:
    """Disable core dumps of this process and its children, because memory holds keys."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
