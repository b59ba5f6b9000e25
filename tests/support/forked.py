"""The command line in processes forked from one that has imported it: each costs milliseconds, not an interpreter."""

from __future__ import annotations

import functools
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import console.cli.main
from tests.support.patience import PATIENCE_S

__all__ = ["run_console"]

_PRELOADED = ("console.cli.main", "console.cli.client", "console.cli.trace", "console.doctor.doctor", __name__)


@functools.cache
def _forks() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    return context


def run_console(arguments: Sequence[str], folder: Path, environ: Mapping[str, str]) -> tuple[int, str, str]:
    """Run `python -m console` in a process of its own.

    Args:
        arguments: of the command line.
        folder: working directory.
        environ: the whole environment.

    Returns:
        Exit status, and what was printed on standard output and standard error.
    """
    with tempfile.TemporaryDirectory() as printed:
        out, err = Path(printed) / "out", Path(printed) / "err"
        process = _forks().Process(
            target=_become, args=(list(arguments), str(folder), dict(environ), str(out), str(err))
        )
        process.start()
        process.join(PATIENCE_S)
        try:
            assert process.exitcode is not None, f"{arguments} did not end"
            return process.exitcode, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8")
        finally:
            process.kill()
            process.join()
            process.close()


def _become(arguments: list[str], folder: str, environ: dict[str, str], out: str, err: str) -> None:
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    for number, name in ((1, out), (2, err)):
        file = os.open(name, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    sys.argv[:] = ["scf-workers", *arguments]
    console.cli.main.main()
