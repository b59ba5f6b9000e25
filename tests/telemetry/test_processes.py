"""The product's processes send the same to a file and to a collector, and wait for neither."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from console.cli.trace import find_traces, read_spans
from console.processes.handlers import HANDLERS
from console.processes.invoke import Invocation, invoke
from console.processes.workers import Workers
from sandbox.cos.events import CommandSink
from sandbox.environment import Sandbox
from telemetry.exporters import FLUSH_LIMIT_S
from tests.support.patience import PATIENCE_S
from tests.telemetry.collectors import Received, dead_collector, http_collector

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/telemetry.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent
TOKEN = "planted-token-of-the-collector"
FOREIGN = {
    "Records": [
        {
            "cos": {
                "cosObject": {"key": "/1250000000/elsewhere/input/u/t/original.jpg"},
                "cosBucket": {"name": "elsewhere", "appid": "1250000000"},
            },
            "event": {"eventName": "cos:ObjectCreated:Put"},
        }
    ]
}
"""An upload to another bucket: the function looks at it and leaves it."""


def run(command: str, folder: Path, environ: Mapping[str, str]) -> str:
    done = subprocess.run(
        shlex.split(command),
        cwd=folder,
        env=dict(environ),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_one_trace_over_the_functions_in_the_file_and_at_the_collector(tmp_path: Path) -> None:
    log = tmp_path / "workers.log"
    with http_collector() as received, Sandbox(tmp_path / "data", HANDLERS, webhook=False, duration_s=1.0) as sandbox:
        sandbox.environ |= {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "OTEL_EXPORTER_OTLP_ENDPOINT": received.url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_RESOURCE_ATTRIBUTES": f"token={TOKEN}",
        }
        # The stand-in of COS starts the producer, in the same environment.
        sandbox._sink = CommandSink(HANDLERS.cos_trigger, env=sandbox.environ)
        with Workers(1, sandbox.environ, log):
            said = run(f"scf-workers submit --direct {ROOT / 'sandbox/photos/portrait.jpg'}", tmp_path, sandbox.environ)
        (command,) = re.findall(r"```console\n\$ (.*)\n```", PAGE)
        shown = run(command, tmp_path, sandbox.environ)
        planted = [value for name, value in sandbox.environ.items() if re.search("SECRET|API_KEY", name)]
    file = Path(sandbox.environ["TRACE_FILE"])
    task = re.findall(r"task (\w+)", said)[0]
    (trace,) = find_traces(read_spans(file), task)
    assert f"trace {trace.trace_id}" in said
    assert f"trace {trace.trace_id}" in shown
    assert trace.functions == (
        "producer.cos_trigger",
        "consumers.clean",
        "consumers.generate",
        "consumers.poll",
        "consumers.collect",
    )
    assert {"verdict", "callback"} <= {row.name for _, row in trace.rows}
    _arrived(received, {row.span_id for _, row in trace.rows})
    reported = b"".join(received.raw) + file.read_bytes() + log.read_bytes()
    assert len(planted) >= 4
    assert [secret for secret in planted if secret.encode() in reported] == []
    assert TOKEN.encode() not in file.read_bytes() + log.read_bytes()


def _arrived(received: Received, spans: set[str]) -> None:
    """Both processes have sent all they had before they ended."""
    assert {span.span_id.hex() for span in received.spans} == spans
    assert received.resource["token"] == TOKEN
    assert {"scf_workers.verdicts", "scf_workers.callbacks", "scf_workers.backlog"} <= set(received.metrics)


def call(tmp_path: Path, **more: str) -> tuple[Invocation, float]:
    """Call the function as the platform would."""
    environ = {
        "PATH": os.environ["PATH"],
        "BROKER_URL": f"sqlite://{tmp_path / 'broker.db'}",
        "COS_BUCKET": "photos-1250000000",
        "LEDGER_BUCKET": "ledger-1250000000",
        "BACKEND_URL": "http://127.0.0.1:1",
        "INTERNAL_CALLBACK_SECRET": "s" * 32,
        "TICKET_SECRET": "t" * 32,
        "MESSAGE_KEYS": f"k1:*:{'m' * 32}",
        **more,
    }
    started = time.monotonic()
    done = invoke("producer.cos_trigger", FOREIGN, environ=environ, time_limit_s=40)
    return done, time.monotonic() - started


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_dead_collector_neither_fails_a_function_nor_holds_it_up(tmp_path: Path, protocol: str) -> None:
    _, usual = call(tmp_path)
    with dead_collector() as url:
        done, took = call(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_EXPORTER_OTLP_PROTOCOL=protocol)
    assert done.ok, done.detail
    assert done.result == {"ignored": 1}
    assert [what for what in done.left if "telemetry" in what] == []
    # The libraries' imports come on top, and this machine may be busy.
    assert took < usual + FLUSH_LIMIT_S + 6.0


@pytest.mark.slow
def test_a_function_that_tells_nobody_loads_no_exporter(tmp_path: Path) -> None:
    program = f"""
import os, sys
from producer.cos_trigger import main_handler
print(main_handler({FOREIGN!r}, {{}}), file=sys.stderr)
loaded = {{name.partition(".")[0] for name in sys.modules}}
print(*sorted(loaded & {{"opentelemetry", "grpc", "google"}}), file=sys.stderr, flush=True)
os._exit(0)  # as the platform ends it
"""
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "BROKER_URL": f"sqlite://{tmp_path / 'broker.db'}",
        "COS_BUCKET": "photos-1250000000",
        "LEDGER_BUCKET": "ledger-1250000000",
        "BACKEND_URL": "http://127.0.0.1:1",
        "INTERNAL_CALLBACK_SECRET": "s" * 32,
        "TICKET_SECRET": "t" * 32,
        "MESSAGE_KEYS": f"k1:*:{'m' * 32}",
        "TRACE_FILE": str(tmp_path / "trace.jsonl"),
    }
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == ["{'ignored': 1}", ""]
    assert [row.name for row in read_spans(tmp_path / "trace.jsonl")] == ["handle producer.cos_trigger"]
