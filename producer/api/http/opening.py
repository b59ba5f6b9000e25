"""Settings -> the objects of a process of the API."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec

from producer.api.context import Api, ApiOptions
from producer.api.http.app import make_api
from runtime.settings import Settings
from runtime.vendors import CHATS, VENDORS
from runtime.wiring import Environ, broker_options, open_api

__all__ = ["open_process", "options_of", "origins_of"]


def options_of(settings: Settings, environ: Environ) -> ApiOptions:
    """Return the options that the settings say.

    Args:
        settings: the settings.
        environ: returns the current environment.

    Raises:
        transport.errors.BadBrokerUrl: BROKER_URL cannot be used.
    """
    # Every vendor of this build: the API has no keys of vendors, so it cannot know which of them the workers use.
    addresses = {name: entry.address(settings).url for name, entry in VENDORS.items()}
    addresses |= {name: entry.address(settings).url for name, entry in CHATS.items()}
    if address := broker_options(settings, environ).address:
        addresses["broker"] = address
    return ApiOptions(
        jwt_secret=settings.jwt_secret,
        callback_secret=settings.internal_callback_secret,
        expected_s=settings.vendor_expected_s,
        per_minute=settings.api_per_minute,
        addresses=addresses,
    )


def origins_of(settings: Settings) -> tuple[str, ...]:
    """Return the origins whose pages may call the API."""
    return tuple(part.strip() for part in settings.api_cors_origins.split(",") if part.strip())


@asynccontextmanager
async def open_process(
    settings: Settings, environ: Environ = lambda: os.environ, *, standing_still: bool = False
) -> AsyncGenerator[Api]:
    """Open the objects of a process.

    Args:
        settings: the settings.
        environ: returns the current environment.
        standing_still: True for a function whose process stands still between calls.

    Raises:
        runtime.errors.BadSettings: a variable is missing or cannot be used.
    """
    async with open_api(settings, environ) as services:
        options = options_of(settings, environ)
        if standing_still:
            options = msgspec.structs.replace(options, streaming=False, respond_within_s=None)
        yield make_api(services, options)
