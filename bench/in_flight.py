"""Thousands of tasks that wait for a vendor as delayed polls: elapsed time, memory and processor time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.apart import measure_apart
from bench.figures import Figure
from bench.pulsar_endpoint import pulsar_endpoint

__all__ = ["measure"]

_COUNTS = (1_000, 10_000)
_VENDOR_S = 30.0
_REPEATS = 3


def _run(url: str, admin_url: str, namespace: str, count: int) -> dict[str, float]:
    return measure_apart("bench.in_flight_worker", url, admin_url, namespace, str(count), str(_VENDOR_S))


def measure() -> Iterator[Figure]:
    """Measure in a process that does nothing else; the vendor takes the same time for every job."""
    for count in _COUNTS:
        rows = []
        for _ in range(_REPEATS):
            with tempfile.TemporaryDirectory() as folder:
                rows.append(_run(f"sqlite://{Path(folder).resolve() / 'broker.db'}", "", "", count))
        yield from _figures(f"inflight_{count}", rows)
    with pulsar_endpoint() as endpoint:
        for count in _COUNTS:
            rows = [_run(endpoint.url, endpoint.admin_url, endpoint.namespace(), count) for _ in range(_REPEATS)]
            yield from _figures(f"inflight_{count}_pulsar", rows)


def _figures(name: str, rows: list[dict[str, float]]) -> Iterator[Figure]:
    yield Figure.of(f"{name}_wall_s", [row["wall_s"] for row in rows], "s")
    yield Figure.of(f"{name}_rss_mb", [row["rss_mb"] for row in rows], "MB")
    yield Figure.of(f"{name}_rss_above_idle_mb", [row["rss_mb"] - row["idle_mb"] for row in rows], "MB")
    yield Figure.of(f"{name}_cpu_ms_a_task", [row["cpu_s"] * 1000 / row["count"] for row in rows], "ms")
    yield Figure.of(f"{name}_looks_a_task", [row["looks"] / row["count"] for row in rows], "looks")
