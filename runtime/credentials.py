"""Credentials for COS, read anew for every call: on the platform they are a role's, and change."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.errors import BadSettings
from runtime.settings import Settings
from services.objects._credentials import Credentials
from telemetry.redaction import register
from telemetry.secrets import Secret

__all__ = ["credentials_in"]


def credentials_in(environ: Mapping[str, str], settings: Settings) -> Credentials:
    """The role's credentials where the platform gives them, else the configured key pair.

    Cloud functions that run with a role have TENCENTCLOUD_SECRETID, TENCENTCLOUD_SECRETKEY and
    TENCENTCLOUD_SESSIONTOKEN (Serverless Cloud Function, environment variables).

    Raises:
        runtime.errors.BadSettings: there are none.
    """
    role = [environ.get(f"TENCENTCLOUD_{part}", "") for part in ("SECRETID", "SECRETKEY", "SESSIONTOKEN")]
    if role[0] and role[1]:
        found = [Secret(part) for part in role]
        for secret in found:
            if secret:
                register(secret)
        return Credentials(*found)
    if settings.tencentcloud_secret_id and settings.tencentcloud_secret_key:
        return Credentials(settings.tencentcloud_secret_id, settings.tencentcloud_secret_key)
    raise BadSettings("set TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY, or give the function a role")
