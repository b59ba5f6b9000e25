"""Ports of a sandbox: kept over restarts, and given up if another program has them."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.applications import Starlette

from sandbox.ports import KeptPorts
from sandbox.server import Server

pytestmark = pytest.mark.slow


def test_ports_are_kept_by_name(tmp_path: Path) -> None:
    ports = KeptPorts(tmp_path / "ports.json")
    assert ports.of("cos") == 0
    ports.keep("cos", 4711)
    ports.keep("ark", 4712)
    again = KeptPorts(tmp_path / "ports.json")
    assert (again.of("cos"), again.of("ark"), again.of("vod")) == (4711, 4712, 0)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"cos": "x"}'])
def test_a_file_that_cannot_be_read_keeps_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ports.json"
    path.write_text(text, encoding="utf-8")
    assert KeptPorts(path).of("cos") == 0


def test_a_server_takes_its_port_again_and_another_one_where_it_is_in_use() -> None:
    app = Starlette()
    with Server(app) as first:
        port = first.port
        with Server(app, port) as other:
            assert other.port != port
    with Server(app, port) as again:
        assert again.port == port
