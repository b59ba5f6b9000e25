"""A scratch copy of the product, in which a test adds something and lists the files that it changed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

__all__ = ["ROOT", "Scratch"]

ROOT = Path(__file__).parents[2]
PACKAGES: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]["packages"]


class Scratch:
    """The packages of the product and `pyproject.toml`, in a folder that may be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for package in PACKAGES:
            shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        self._before = self._contents()

    def add(self, name: str, text: str) -> None:
        """Make a file."""
        path = self.folder / name
        assert not path.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def replace(self, name: str, old: str, new: str) -> None:
        """Change one place of a file."""
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{name} has {text.count(old)} places like {old!r}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def touched(self) -> list[str]:
        """Files made or changed since."""
        now = self._contents()
        return sorted(name for name in now if self._before.get(name) != now[name])

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run Python if the first word begins with a dash, otherwise a tool of this environment."""
        python = Path(sys.executable)
        is_python = command[0].startswith("-")
        return subprocess.run(
            [python, *command] if is_python else [python.with_name(command[0]), *command[1:]],
            cwd=self.folder,
            env={"PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1", "PATH": str(python.parent)},
            capture_output=True,
            text=True,
            check=False,
        )

    def _contents(self) -> dict[str, bytes]:
        kept = {".py", ".json", ".toml"}
        files = (path for path in self.folder.rglob("*") if path.suffix in kept and "__pycache__" not in path.parts)
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files}
