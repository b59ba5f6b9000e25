"""docs/reference/ against the code, and every page that the code cites against the pages there are."""

from __future__ import annotations

import re
from typing import Final

from services.vendors.runninghub.client import RESULT_HOSTS
from services.vendors.runninghub.codes import CODES, HTTP_ON_CREATE, OnCreate
from services.vendors.tokenhub import codes as tokenhub
from tests.docs.pages import ROOT, text_of

PAGE: Final = text_of("docs/reference/vendors.md")
TOKENHUB: Final = text_of("docs/reference/tokenhub.md")
CODE: Final = (
    "consumers",
    "console",
    "messages",
    "producer",
    "recipes",
    "runtime",
    "sandbox",
    "services",
    "telemetry",
    "tests",
)


def test_every_code_is_in_the_table_with_what_it_means_for_a_create() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \| [^|]+ \| (full|refused|unknown) \|$", PAGE, re.MULTILINE)
    reported = [(code, OnCreate(meaning)) for codes, meaning in rows for code in codes.split(", ")]
    assert len(reported) == len(dict(reported))
    assert dict(reported) == {code: meaning.create for code, meaning in CODES.items()}


def test_every_code_of_tokenhub_is_in_its_table() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \| [^|]+ \| (full|down|refused|content) \|$", TOKENHUB, re.MULTILINE)
    reported = {code: tokenhub.OnAsk(meaning) for codes, meaning in rows for code in codes.split(", ")}
    assert reported == {code: meaning for code, meaning in tokenhub.CODES.items() if code.isdigit()}


def test_the_statuses_of_tokenhub_are_those_of_the_code() -> None:
    found = re.findall(r"known code, ([\d, and]+) count as \*down\*, (\d+) as \*full\*, (\d+) as \*content\*", TOKENHUB)
    down, full, content = found[0]
    reported = {int(status): tokenhub.OnAsk.DOWN for status in re.findall(r"\d+", down)}
    reported |= {int(full): tokenhub.OnAsk.FULL, int(content): tokenhub.OnAsk.CONTENT}
    assert reported == tokenhub.STATUSES


def test_the_statuses_that_prove_something_are_those_of_the_code() -> None:
    (full, refused) = re.findall(r"HTTP statuses, ([\d, and]+) count as \*full\*, and ([\d, and]+) as", PAGE)[0]
    reported = {int(status): OnCreate.FULL for status in re.findall(r"\d+", full)}
    assert reported | {int(status): OnCreate.REFUSED for status in re.findall(r"\d+", refused)} == HTTP_ON_CREATE


def test_the_hosts_of_results_are_named() -> None:
    for host in RESULT_HOSTS:
        assert host.removeprefix("*.").partition(".cos.")[0] in PAGE


def test_a_page_that_the_code_cites_is_there() -> None:
    cited = {
        name
        for folder in CODE
        for file in (ROOT / folder).rglob("*.py")
        for name in re.findall(r"docs/[\w/-]+\.md", file.read_text(encoding="utf-8"))
    }
    assert {"docs/backend.md", "docs/reference/vendors.md"} <= cited
    assert sorted(name for name in cited if not (ROOT / name).exists()) == []
