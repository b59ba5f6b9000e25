"""Readers of the pages whose commands are done one after another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.test_commands import Reader


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """A reader whose first two terminals run the sandbox and a worker."""
    reader = Reader(tmp_path)
    reader.do('export PATH="$PWD/.venv/bin:$PATH"')
    reader.do("scf-workers sandbox")
    reader.do("scf-workers work")
    yield reader
    reader.close()
