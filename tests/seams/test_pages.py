"""The worked examples of the pages about kinds and vendors, followed to the letter in a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from PIL import Image

from tests.docs.pages import commands_of, text_of
from tests.seams.scratch import ROOT

_NOT_COPIED: Final = (".git", ".venv", ".uv", ".sandbox", "out", ".hypothesis", ".pytest_cache", "__pycache__")
_STEP: Final = re.compile(
    r"^(?:Write `(?P<new>[^`]+)`:"
    r"|In `(?P<old>[^`]+)`, (?P<side>before|after) the line that begins with (?P<tick>`+)(?P<line>.+?)(?P=tick), add:)"
    r"\n\n```\w+\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


class Step(NamedTuple):
    """A file to write, or lines to add to one."""

    path: str
    text: str
    side: str = ""
    line: str = ""

    def follow(self, folder: Path) -> None:
        path = folder / self.path
        if not self.side:
            assert not path.exists()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.text, encoding="utf-8")
            return
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        (found,) = [n for n, line in enumerate(lines) if line.strip().startswith(self.line)]
        lines.insert(found + (self.side == "after"), self.text)
        path.write_text("".join(lines), encoding="utf-8")


def steps_of(page: str) -> Iterator[Step]:
    for found in _STEP.finditer(text_of(page)):
        yield Step(found["new"] or found["old"], found["text"], found["side"] or "", found["line"] or "")


def follow(page: str, folder: Path) -> Path:
    """Do every step of a page in a copy of the repository, then its commands."""
    copy = folder / "copy"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*_NOT_COPIED))
    (copy / ".venv").symlink_to(ROOT / ".venv")
    for step in steps_of(page):
        step.follow(copy)
    # Some rules look at committed files.
    subprocess.run("git init -q && git add -A", shell=True, cwd=copy, check=True)  # noqa: S602 - a constant
    environ = {name: os.environ[name] for name in ("HOME", "LANG", "PATH") if name in os.environ}
    environ |= {"PYTHONPATH": str(copy), "PATH": f"{copy / '.venv/bin'}:{environ['PATH']}"}
    for command in commands_of(page):
        # Nothing is to be installed there.
        given = command.replace("make ", "make -o .venv/.ready ", 1)
        done = subprocess.run(["bash", "-c", given], cwd=copy, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
    return copy


def test_the_steps_of_the_pages_are_found() -> None:
    assert len([*steps_of("docs/how-to/add-a-recipe.md")]) == 7
    assert len([*steps_of("docs/how-to/add-a-vendor.md")]) == 17
    for page in ("docs/how-to/add-a-recipe.md", "docs/how-to/add-a-vendor.md"):
        # Each block but the commands is a step.
        blocks = re.findall(r"^```(\w+)$", text_of(page), re.MULTILINE)
        assert len([*steps_of(page)]) == len([language for language in blocks if language != "console"])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_example_of_a_kind(tmp_path: Path) -> None:
    copy = follow("docs/how-to/add-a-recipe.md", tmp_path)
    (poster,) = copy.glob("out/*/poster_01.webp")
    with Image.open(poster) as picture:
        assert (picture.format, picture.size) == ("WEBP", (256, 256))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_example_of_a_vendor(tmp_path: Path) -> None:
    copy = follow("docs/how-to/add-a-vendor.md", tmp_path)
    assert (copy / "services/vendors/inkwell/client.py").is_file()
