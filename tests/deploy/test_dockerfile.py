"""The Dockerfile against the project; `deploy/check.sh` runs its build steps."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
TEXT: Final = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_package_is_copied_and_let_through() -> None:
    packages = set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert set(re.findall(r"^COPY (\w+) \1$", TEXT, re.MULTILINE)) == packages
    let_through = set(re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE))
    assert let_through == packages | {"deploy/install.sh", "pyproject.toml", "uv.lock", "README.md", "LICENSE"}
    assert all((ROOT / name).exists() for name in let_through)


def test_it_installs_extras_that_exist_with_the_uv_of_the_makefile() -> None:
    steps = re.findall(r"^RUN deploy/install.sh (dependencies|project) (.+)$", TEXT, re.MULTILINE)
    extras = PROJECT["project"]["optional-dependencies"]
    assert [what for what, _ in steps] == ["dependencies", "project", "project"]
    assert all(set(words.split()) <= set(extras) for _, words in steps)
    assert set(steps[2][1].split()) == set(extras)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    pinned = re.search(r"^UV_VERSION := (\S+)$", makefile, re.MULTILINE)
    assert pinned is not None
    assert f"ARG UV_VERSION={pinned[1]}\n" in TEXT


def test_nothing_runs_as_root_and_the_last_target_is_that_of_the_workers() -> None:
    stages = re.split(r"^FROM ", TEXT, flags=re.MULTILINE)[1:]
    final = {stage.splitlines()[0].rpartition(" ")[2]: stage for stage in stages}
    assert list(final)[-1] == "workers"
    for target in ("sandbox", "workers"):
        assert re.search(r"^USER workers$", final[target], re.MULTILINE)
    assert "EXPOSE 9000" in final["workers"]
    health = re.search(r"HEALTH_FILE=(\S+)", TEXT)
    assert health is not None
    # All that a function may write to.
    assert health[1].startswith("/tmp/")  # noqa: S108 - the file system of a container
