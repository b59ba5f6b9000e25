"""Settings -> the rules of the two buckets, and clients to read and write them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from runtime.credentials import credentials_in
from runtime.errors import BadSettings
from runtime.settings import Settings, require
from runtime.wiring import Environ
from services.objects.bucket.port import BucketRules
from services.objects.bucket.rules import Keeping, Transition
from services.objects.bucket.setup import Bucket, buckets_of

__all__ = ["keeping_of", "open_buckets"]


def keeping_of(settings: Settings) -> Keeping:
    """Return how long the deployment keeps its objects, and which pages may reach them."""
    return Keeping(
        input_days=settings.input_days,
        output_days=settings.output_days,
        output_transitions=tuple(
            Transition(int(days), name)
            for days, _, name in (pair.partition(":") for pair in _listed(settings.output_transitions))
        ),
        ledger_days=settings.ledger_days,
        origins=tuple(_listed(settings.cos_cors_origins or settings.api_cors_origins)),
    )


@asynccontextmanager
async def open_buckets(settings: Settings, environ: Environ) -> AsyncGenerator[tuple[Bucket, Bucket]]:
    """Open the rules of both buckets: of the data, then of the ledger.

    Args:
        settings: the settings.
        environ: returns the current environment: a cloud function's credentials change in it.

    Raises:
        runtime.errors.BadSettings: a variable is missing or cannot be used.
    """
    require(settings, "cos_bucket", "ledger_bucket")
    async with AsyncExitStack() as stack:
        data, ledger = (_rules(settings, environ, name) for name in (settings.cos_bucket, settings.ledger_bucket))
        for rules in (data, ledger):
            stack.push_async_callback(rules.close)
        yield buckets_of((settings.cos_bucket, data), (settings.ledger_bucket, ledger), keeping_of(settings))


def _rules(settings: Settings, environ: Environ, name: str) -> BucketRules:
    from services.objects.bucket.cos import CosBucketRules

    try:
        return CosBucketRules(
            bucket=name,
            region=settings.tencentcloud_region,
            credentials=lambda: credentials_in(environ(), settings),
            endpoint=settings.cos_endpoint,
        )
    except ValueError as error:
        names = "COS_BUCKET, LEDGER_BUCKET, TENCENTCLOUD_REGION, COS_ENDPOINT"
        raise BadSettings(f"one of {names} cannot be used: {error}") from error


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
