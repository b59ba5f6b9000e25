"""Imports are part of a cold start: an entry module imports only what it needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = (
    "PIL",
    "html.entities",
    "http.client",
    "httpx",
    "jwt",
    "opentelemetry",
    "pulsar",
    "qcloud_cos",
    "requests",
    "rich",
    "sqlite3",
    "starlette",
    "typer",
)
SERVER = ["html.entities", "http.client"]
"""Imported by the standard library's HTTP server."""
SCRIPT = """
import importlib, json, sys, time
import msgspec, asyncio, logging
before = time.perf_counter()
importlib.import_module(sys.argv[1])
took = time.perf_counter() - before
loaded = sorted(sys.modules)
json.dump({"took": took, "loaded": loaded}, sys.stdout)
"""


def _import(module: str) -> dict[str, object]:
    done = subprocess.run([sys.executable, "-c", SCRIPT, module], cwd=ROOT, capture_output=True, check=True, text=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    "module",
    [
        "consumers.runners.drain",
        "consumers.runners.push",
        "consumers.runners.worker",
        "messages.codec",
        "producer.cos_trigger",
        "producer.sweep",
        "producer.webhook",
        "recipes.table",
        "runtime.image",
    ],
)
def test_an_entry_module_imports_nothing_heavy(module: str) -> None:
    loaded = _import(module)["loaded"]
    assert isinstance(loaded, list)
    assert sorted(set(HEAVY) & set(loaded)) == SERVER * (module == "runtime.image")


def test_the_producer_imports_within_its_budget() -> None:
    # Wide on purpose: a machine under load needs several times what an idle one does (60 to 90 ms).
    took = _import("producer.cos_trigger")["took"]
    assert isinstance(took, float)
    assert took < 2.0
