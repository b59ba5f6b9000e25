"""Memory of a worker process while a large video of a person passes through `video_tryon`, above what it has at rest.

The worker is a real process; COS, RunningHub and backend are the stand-ins. Before the measurement it does one task of
the kind, so that every library is loaded. Linux alone: the peak is the kernel's own.
"""

from __future__ import annotations

import asyncio
import re
import struct
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from bench.figures import Figure
from console.cli.client import Client, open_client
from console.processes.handlers import HANDLERS
from console.processes.workers import Workers
from runtime.settings import load_settings
from sandbox.environment import Sandbox

__all__ = ["measure", "peaks"]

_KIND: Final = "video_tryon"
_MIB: Final = 1 << 20
_SIZES: Final = {"video_memory_150_mib": 150 * _MIB, "video_memory_29_mib": 29 * _MIB}
"""Figure -> bytes of the video. RunningHub takes uploads of up to 30 MB, which flow through the worker; a larger one it
fetches by a URL."""
_REPEATS: Final = 3
_LIMIT_S: Final = 180.0
_PHOTOS: Final = Path(__file__).parents[1] / "sandbox/photos"


def measure() -> Iterator[Figure]:
    """Measure the peak above rest, for each size."""
    found = peaks(_SIZES, _REPEATS)
    for name, values in found.items():
        yield Figure.of(name, values, "MiB")


def peaks(sizes: Mapping[str, int], repeats: int) -> dict[str, list[float]]:
    """Return for each size the worker's peaks above its memory at rest, in MiB.

    Args:
        sizes: name -> bytes of the video.
        repeats: tasks of each size.
    """
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        with (
            Sandbox(data / "data", HANDLERS, duration_s=1.0, settings={"LOG_LEVEL": "ERROR"}) as sandbox,
            Workers(1, sandbox.environ, data / "workers.log") as workers,
        ):
            return asyncio.run(_peaks(sizes, repeats, sandbox.environ, workers.pids[0], data))


async def _peaks(
    sizes: Mapping[str, int], repeats: int, environ: Mapping[str, str], worker: int, data: Path
) -> dict[str, list[float]]:
    garment = _PHOTOS / "garment.png"
    found: dict[str, list[float]] = {name: [] for name in sizes}
    async with open_client(load_settings(environ)) as client:
        await _run((_video(data / "first.mp4", _MIB), garment), client)
        for name, size in sizes.items():
            person = _video(data / f"{name}.mp4", size)
            for _ in range(repeats):
                at_rest = _reset(worker)
                await _run((person, garment), client)
                found[name].append((_memory(worker, "VmHWM") - at_rest) / _MIB)
    return found


async def _run(inputs: Sequence[Path], client: Client) -> None:
    sold = await client.buy("u-bench", _KIND, {}, len(inputs))
    await client.upload(sold, inputs)
    status = "pending"
    async with asyncio.timeout(_LIMIT_S):
        while status == "pending":
            await asyncio.sleep(0.2)
            status = await client.status(sold)
    if status != "success":
        raise RuntimeError(f"the task ended as {status}")


def _reset(process: int) -> int:
    """Begin a new peak, and return the memory that it begins at (proc(5), clear_refs)."""
    Path(f"/proc/{process}/clear_refs").write_text("5", encoding="ascii")
    return _memory(process, "VmRSS")


def _memory(process: int, field: str) -> int:
    """Return a figure of a process in bytes: VmRSS is its memory now, VmHWM its peak."""
    text = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    (kib,) = re.findall(rf"^{field}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(kib) << 10


def _video(path: Path, size: int) -> Path:
    """Write a playable mp4 of this size: a small one, with a box of free space behind it (ISO 14496-12, 8.1.2)."""
    from PIL import Image

    from sandbox.video import encode

    with Image.open(_PHOTOS / "portrait.jpg") as opened:
        photo = opened.convert("RGB").resize((240, 320))
    encode((photo.rotate(turn) for turn in range(24)), path)
    left = size - path.stat().st_size
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", left, b"free"))
        for at in range(8, left, _MIB):
            file.write(bytes(min(_MIB, left - at)))
    return path
