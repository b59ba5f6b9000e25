"""Imports and names in strings point down only, and no folder is crowded. Each rule is tested to fail where it must."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.repo.layers import MAX_MODULES, crowded, upward_names
from tests.seams.scratch import ROOT, Scratch


def test_no_string_names_an_upper_package() -> None:
    assert upward_names(ROOT) == []


PLANTED = [
    ("sandbox/gateway.py", '_X = ("python", "-m", "console", "invoke")', "console"),
    ("sandbox/server.py", '_X = "exec python -m console invoke"', "console"),
    ("transport/port.py", '_X = "consumers.runners.push"', "consumers.runners.push"),
    ("tasks/run.py", '_X = f"producer.{1}"', "producer"),
    ("telemetry/logs.py", '_X = ["messages.codec"]', "messages.codec"),
    ("consumers/runners/pump.py", '_X = {"producer.sweep": 1}', "producer.sweep"),
    ("runtime/wiring.py", '_X = ["-m", "sandbox.pulsar"]', "sandbox.pulsar"),
]
"""A line for each of several modules, and the module that it names."""


def test_each_planted_name_of_an_upper_package_is_found(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "copy")
    for name, line, _ in PLANTED:
        path = scratch.folder / name
        path.write_text(f"{path.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    guilty = {(found.partition(":")[0], found.rpartition(" names ")[2]) for found in upward_names(scratch.folder)}
    assert guilty == {(name, named) for name, _, named in PLANTED}


def test_no_folder_holds_too_many_modules() -> None:
    assert crowded(ROOT) == []


def test_a_planted_sixteenth_module_is_found(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "copy")
    there = len([path for path in (scratch.folder / "producer").glob("*.py") if path.name != "__init__.py"])
    for number in range(there, MAX_MODULES):
        scratch.add(f"producer/planted_{number}.py", "")
    assert crowded(scratch.folder) == []
    scratch.add("producer/one_more.py", "")
    assert crowded(scratch.folder) == [f"producer: {MAX_MODULES + 1} modules"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("tasks/run.py", "import runtime.settings"),
        ("transport/port.py", "from services.errors import NotFound"),
        ("sandbox/gateway.py", "import messages.codec"),
    ],
)
def test_a_planted_upward_import_breaks_the_contracts(tmp_path: Path, name: str, line: str) -> None:
    scratch = Scratch(tmp_path / "copy")
    path = scratch.folder / name
    path.write_text(f"{path.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    ran = scratch.run("lint-imports", "--no-cache")
    assert ran.returncode == 1
    assert "BROKEN" in ran.stdout


def test_lint_asks_import_linter() -> None:
    assert "$(RUN)/lint-imports\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
