"""docs/how-to/try-failures.md: each control address that it shows works, and each fault in its table can be armed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, get_args, get_type_hints

import pytest

from sandbox.ark.model import Fault as ArkFault
from sandbox.backend.faults import Fault as BackendFault
from sandbox.runninghub.model import Fault as RunningHubFault
from sandbox.tokenhub.model import Fault as TokenHubFault
from sandbox.vod.model import Fault as VodFault
from tests.docs.pages import commands_of, text_of
from tests.docs.test_commands import Reader

PAGE: Final = "docs/how-to/try-failures.md"
FAULTS: Final = {
    "RunningHub": RunningHubFault,
    "Ark": ArkFault,
    "VOD": VodFault,
    "TokenHub": TokenHubFault,
    "the backend": BackendFault,
}


def test_the_table_names_every_call_that_may_fail() -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]*`[^|]+) \|", text_of(PAGE), re.MULTILINE)
    shown = {name: set(re.findall(r"`(\w+)`", calls)) for name, calls in rows}
    assert shown.pop("stand-in") == {"on"}
    assert shown.pop("COS") == {"method", "key"}
    # `status` is a call of RunningHub's older interface alone.
    assert shown == {name: set(get_args(get_type_hints(fault)["on"])) - {"status"} for name, fault in FAULTS.items()}


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """A reader whose first terminal runs the sandbox."""
    reader = Reader(tmp_path)
    reader.do('export PATH="$PWD/.venv/bin:$PATH"')
    reader.do("scf-workers sandbox")
    yield reader
    reader.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_door_opens(reader: Reader) -> None:
    environment, *doors = commands_of(PAGE)
    answers = {door: reader.do(f"{environment}\n{door}") for door in doors}
    assert len(answers) > 14
    for door, answer in answers.items():
        assert (not answer and "--request" in door) or json.loads(answer) is not None
    assert {"charged", "refunded", "tasks"} <= set(
        json.loads(answers['curl --fail --silent "$BACKEND_URL/_sandbox/quota"'])
    )
