"""Process that `bench.large_file` measures: transfers one file, by our streaming or by the SDK alone."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from services.fetch import Fetcher
from services.objects.cos import CosObjects
from services.objects.credentials import Credentials
from telemetry.secrets import Secret

__all__ = ["main"]

BUCKET = "bench-1250000000"


def _mib(field: str) -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def _idle_mib() -> float:
    """Return the resident memory; the peak is measured from here on (proc(5), clear_refs)."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _mib("VmRSS")


async def _stream(cos: str, vendor: str) -> dict[str, float]:
    parts = urlsplit(vendor)
    fetcher = Fetcher(
        allowed_hosts=frozenset(),
        allow_private=frozenset({f"{parts.hostname}:{parts.port}"}),
        max_bytes=1 << 30,
        timeout=30,
    )
    objects = CosObjects(
        bucket=BUCKET,
        region="ap-guangzhou",
        credentials=lambda: Credentials(Secret("AKIDbench"), Secret("bench-key")),
        endpoint=cos,
    )
    await objects.put("warm", b"x")
    async with fetcher.open(f"{vendor}/video.mp4", max_bytes=1 << 30):
        pass
    idle = _idle_mib()
    started = time.perf_counter()
    async with fetcher.open(f"{vendor}/video.mp4") as download:
        await objects.put("video.mp4", download, content_type="video/mp4")
    took = time.perf_counter() - started
    grown = _mib("VmHWM") - idle
    await fetcher.close()
    await objects.close()
    return {"seconds": took, "grown_mib": grown}


def _sdk(cos: str, path: str) -> dict[str, float]:
    from qcloud_cos import CosConfig, CosS3Client

    host = cos.removeprefix("http://")
    config = CosConfig(
        Region="ap-guangzhou",
        SecretId="AKIDbench",
        SecretKey="bench-key",
        Scheme="http",
        Domain=f"{host}/{BUCKET}",
    )
    client = CosS3Client(config, retry=0)
    client.put_object(Bucket=BUCKET, Body=b"x", Key="warm")
    idle = _idle_mib()
    started = time.perf_counter()
    with open(path, "rb") as body:  # noqa: PTH123 - the SDK wants a file
        client.put_object(Bucket=BUCKET, Body=body, Key="sdk.mp4")
    return {"seconds": time.perf_counter() - started, "grown_mib": _mib("VmHWM") - idle}


def main(kind: str, cos: str, vendor: str, path: str) -> None:
    """Measure one transfer and print it as JSON."""
    print(json.dumps(asyncio.run(_stream(cos, vendor)) if kind == "stream" else _sdk(cos, path)))


if __name__ == "__main__":
    main(*sys.argv[1:])
