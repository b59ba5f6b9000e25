"""Work of the commands `scf-workers cos …` with the buckets of an environment."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from runtime.buckets import open_buckets
from runtime.settings import load_settings
from services.objects.bucket.setup import BucketReport, set_up

__all__ = ["set_up_buckets"]


def set_up_buckets(environ: Mapping[str, str], *, acts: bool = True) -> list[BucketReport]:
    """Write the rules that the two buckets of an environment lack.

    Args:
        environ: the environment.
        acts: False to compare only.

    Raises:
        messages.errors.ScfWorkersError: the environment cannot be used, or COS failed; doing it again is harmless.
    """

    async def work() -> list[BucketReport]:
        async with open_buckets(load_settings(environ), lambda: environ) as buckets:
            return [await set_up(bucket, acts=acts) for bucket in buckets]

    return asyncio.run(work())
