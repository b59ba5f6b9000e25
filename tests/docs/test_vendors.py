"""docs/reference/ against the code: codes, hosts, rules of models; and every page that the code cites."""

from __future__ import annotations

import re
from typing import Final

from recipes.shared.seedream import MODELS as RECIPES_MODELS
from services.vendors.ark.client import RESULT_HOSTS as ARK_HOSTS
from services.vendors.ark.codes import CODES as ARK_CODES
from services.vendors.ark.models import MODELS, rules_of
from services.vendors.on_create import HTTP_ON_CREATE, OnCreate
from services.vendors.runninghub.client import RESULT_HOSTS
from services.vendors.runninghub.codes import CODES
from services.vendors.tokenhub import codes as tokenhub
from services.vendors.vod.client import RESULT_HOSTS as VOD_HOSTS
from services.vendors.vod.codes import CODES as VOD_CODES
from services.vendors.vod.models import MODELS as VOD_MODELS
from tests.docs.pages import ROOT, text_of

PAGE: Final = text_of("docs/reference/vendors.md")
ARK: Final = text_of("docs/reference/ark.md")
VOD: Final = text_of("docs/reference/vod.md")
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
    rows = re.findall(r"^\| ([\d, ]+) \| [^|]+ \| (full|down|account|refused|content) \|$", TOKENHUB, re.MULTILINE)
    reported = {code: tokenhub.OnAsk(meaning) for codes, meaning in rows for code in codes.split(", ")}
    assert reported == {code: meaning for code, meaning in tokenhub.CODES.items() if code.isdigit()}


def test_the_statuses_of_tokenhub_are_those_of_the_code() -> None:
    (said,) = re.findall(r"HTTP statuses without a known code, (.*?), every other", " ".join(TOKENHUB.split()))
    reported = {
        int(status): tokenhub.OnAsk(meaning)
        for statuses, meaning in re.findall(r"([\d, and]+) (?:count )?as \*(\w+)\*", said)
        for status in re.findall(r"\d+", statuses)
    }
    assert reported == tokenhub.STATUSES


def test_the_statuses_that_prove_something_are_those_of_the_code() -> None:
    (full, refused) = re.findall(r"HTTP statuses, ([\d, and]+) count as \*full\*, and ([\d, and]+) as", PAGE)[0]
    reported = {int(status): OnCreate.FULL for status in re.findall(r"\d+", full)}
    assert reported | {int(status): OnCreate.REFUSED for status in re.findall(r"\d+", refused)} == HTTP_ON_CREATE


def test_the_hosts_of_results_are_named() -> None:
    for host in RESULT_HOSTS:
        assert host.removeprefix("*.").partition(".cos.")[0] in PAGE


def _codes(page: str) -> set[tuple[str, OnCreate, bool]]:
    """Each code of a page's table, with what it means for a create, and whether it is an alarm."""
    rows = re.findall(r"^\| (`[\w.`, ]+`) \| ([^|]+) \| (full|refused|unknown) \|$", page, re.MULTILINE)
    reported = [
        (code, OnCreate(meaning), "alarm" in subject)
        for codes, subject, meaning in rows
        for code in re.findall(r"[\w.]+", codes)
    ]
    assert len(reported) == len({code for code, _, _ in reported})
    return set(reported)


def test_every_code_of_ark_is_in_its_table_with_what_it_means_for_a_create() -> None:
    assert _codes(ARK) == {(code, meaning.create, meaning.alarm) for code, meaning in ARK_CODES.items()}


def test_every_code_of_vod_is_in_its_table_with_what_it_means_for_a_create() -> None:
    assert _codes(VOD) == {(code, meaning.create, meaning.alarm) for code, meaning in VOD_CODES.items()}


def test_the_rules_of_vods_models_are_in_its_table() -> None:
    rows = re.findall(r"^\| `([\w.-]+)` \| (\d+) to (\d+) \| ([^|]+) \| ([^|]+) \|$", VOD, re.MULTILINE)
    reported = {
        code: (int(least), int(most), *(tuple(re.findall(r"[\w:]+", values)) for values in (sizes, ratios)))
        for code, least, most, sizes, ratios in rows
    }
    assert reported == {
        code: (rules.least_inputs, rules.most_inputs, rules.sizes, rules.ratios) for code, rules in VOD_MODELS.items()
    }


def test_the_hosts_of_vods_results_are_named() -> None:
    for host in VOD_HOSTS:
        assert host.removeprefix("*.") in VOD


def test_the_rules_of_arks_models_are_in_its_table() -> None:
    row = r"^\| ([45]-[\w-]+) \| ([\dK, ]+) \| (\d+) to (\d+) \| (\d+) \| ([a-z, ]+) \|$"
    reported = {
        family: (set(names.split(", ")), int(least), int(most), int(references), set(formats.split(", ")))
        for family, names, least, most, references, formats in re.findall(row, ARK, re.MULTILINE)
    }
    assert reported == {
        family: (set(rules.names), rules.least_pixels, rules.most_pixels, rules.references, set(rules.formats))
        for family, rules in MODELS.items()
    }


def test_the_recipes_refuse_what_the_models_refuse() -> None:
    for model, picture in RECIPES_MODELS.items():
        rules = rules_of(model)
        sizes = set(picture.short_sizes), picture.least_pixels, picture.most_pixels
        assert sizes == (set(rules.names), rules.least_pixels, rules.most_pixels)


def test_the_hosts_of_arks_results_are_named() -> None:
    for host in ARK_HOSTS:
        bucket, _, rest = host.partition(".")
        assert f"`{bucket}`" in ARK
        assert rest in ARK


def test_a_page_that_the_code_cites_is_there() -> None:
    cited = {
        name
        for folder in CODE
        for file in (ROOT / folder).rglob("*.py")
        for name in re.findall(r"docs/[\w/-]+\.md", file.read_text(encoding="utf-8"))
    }
    assert {"docs/backend.md", "docs/reference/vendors.md"} <= cited
    assert sorted(name for name in cited if not (ROOT / name).exists()) == []
