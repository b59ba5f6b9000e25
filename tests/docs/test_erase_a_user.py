"""docs/how-to/erase-a-user.md against the code, and done as it says."""

from __future__ import annotations

import json
import re
import time
from typing import Any, Final

import pytest

from tasks.context import ErasureServices
from tasks.erasing.content import CONTENT
from tasks.erasing.erase import erase_user
from tasks.erasing.survey import survey_of
from tests.bad_input import pictures
from tests.bad_input.harness import TicketHarness
from tests.docs.pages import blocks_of, commands_of, text_of
from tests.docs.rights import allows, used_by
from tests.docs.test_commands import Reader
from tests.docs.test_deploy import ROLE
from tests.support.patience import PATIENCE_S

PAGE: Final = "docs/how-to/erase-a-user.md"
COUNT, ERASE, CANCEL = commands_of(PAGE)
(POLICY,) = (json.loads(block.text) for block in blocks_of(PAGE) if block.language == "json")


def test_the_table_names_every_record_that_loses_content() -> None:
    text = text_of(PAGE)
    table = text[text.index("| record | content") : text.index("Records are not deleted")]
    named = set(re.findall(r"^\| (.+?) \|", table, re.MULTILINE)) - {"record", "---"}
    names = {name for cell in named for name in re.findall(r"`([^`]+)`", cell)}
    templates = {getattr(kind, "template", "").replace("{place}", "{stage}") for kind in CONTENT} - {""}
    assert names == templates
    assert any("dead letters" in cell for cell in named)


async def erased(harness: TicketHarness) -> None:
    run = await harness.submit(pictures.jpeg())
    await harness.submit(b"no picture")
    services = ErasureServices(ledger=harness.ledger, objects=harness.data, chat_models=(harness.chat.model,))
    found = await survey_of(run.user, services)
    assert (await erase_user(found, "amara", "", services)).empty


def test_the_policies_allow_what_the_command_does() -> None:
    used = used_by(erased)
    assert {one.operation for one in used} >= {"delete", "list", "put", "versioned"}
    assert [one for one in sorted(used) if not allows([ROLE, POLICY], one)] == []
    assert [one for one in used if not allows([ROLE], one)], "and the policy of the page is needed"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_walk(reader: Reader) -> None:
    reader.do("scf-workers submit sandbox/photos/portrait.jpg")
    counted = reader.do(COUNT)
    assert "--yes erases it" in counted
    assert re.search(r"^  input/u-1024/  objects [12], bytes \d{4,}$", counted, re.MULTILINE)
    assert "u-1024: erased" in reader.do(ERASE)
    assert answer(reader, COUNT) == {**answer(reader, COUNT), "records": 0, "entries": 0, "unfinished": []}
    assert "nothing to erase" in reader.do(COUNT)
    # Another task, which the command must cancel.
    reader.do("scf-workers submit sandbox/photos/portrait.jpg --wait 0")
    ends = time.monotonic() + PATIENCE_S
    while not answer(reader, COUNT)["entries"]:
        assert time.monotonic() < ends
        time.sleep(0.2)
    assert answer(reader, CANCEL)["complete"]
    assert json.loads(reader.do('. .sandbox/env; curl --silent "$BACKEND_URL/_sandbox/quota"'))["refunded"] <= 1


def answer(reader: Reader, command: str) -> Any:
    return json.loads(reader.do(f"{command} --json").splitlines()[-1])
