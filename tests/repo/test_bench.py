"""`make bench` as far as it can be looked at beside other work: its suites are there, and the quick one measures."""

from __future__ import annotations

import importlib
import re

import pytest

from bench import large_file, messages
from bench.__main__ import SUITES, main
from tests.docs.pages import text_of


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_can_be_asked(name: str) -> None:
    suite = importlib.import_module(f"bench.{name}")
    assert suite.__doc__
    assert callable(suite.measure)


def test_the_size_of_a_message_is_what_the_page_says() -> None:
    figure = next(messages.measure())
    (told,) = re.findall(r"^\| bytes of a `generate` message \| (\d+) \|", text_of("docs/performance.md"), re.MULTILINE)
    assert figure.median == int(told) < 200


def test_a_suite_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nothing"]) == 2
    assert "nothing" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_large_result_streams_with_flat_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speed is left to `make bench`: beside other tests it says nothing."""
    monkeypatch.setattr(large_file, "_REPEATS", 1)
    found = {figure.name: figure.median for figure in large_file.measure()}
    assert 0 < found["large_file_rss_above_idle"] < 64
