"""`make bench`, as far as it can be tested beside other work: its suites exist, and the quick one measures."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest

from bench import large_file, messages, requests, store_errors, video_memory
from bench.__main__ import SUITES, keep, main
from bench.figures import Figure
from tests.docs.pages import text_of


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_can_be_asked(name: str) -> None:
    suite = importlib.import_module(f"bench.{name}")
    assert suite.__doc__
    assert callable(suite.measure)


def test_the_size_of_a_message_is_what_the_page_says() -> None:
    figure = next(messages.measure())
    (reported,) = re.findall(
        r"^\| bytes of a `generate` message, with its signature \| (\d+) \|",
        text_of("docs/performance.md"),
        re.MULTILINE,
    )
    assert figure.median == int(reported) < 200


@pytest.mark.parametrize("kind", ["basic_clean", "model_pose12"])
def test_the_requests_of_a_task_are_what_the_page_says(kind: str) -> None:
    seen = requests.count(kind)
    page = text_of("docs/performance.md")
    reported = {
        name: int(times)
        for name, *columns in re.findall(r"^\| `([a-z]+ [a-z_]+)` \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
        if (times := columns[kind == "model_pose12"]) != "0"
    }
    assert reported == dict(seen)
    assert seen["ledger get"] <= 16


def test_errors_of_the_store_cost_a_task_little() -> None:
    figures = re.search(
        r"^\| 90 % of the tasks take at most, s \| [\d.]+ \| ([\d.]+) \|$", text_of("docs/performance.md"), re.MULTILINE
    )
    assert figures
    found = sorted(store_errors.seconds(40, 0.05))
    assert found[35] <= 1.15 * float(figures[1])


def test_a_suite_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nothing"]) == 2
    assert "nothing" in capsys.readouterr().err


def test_the_figures_of_other_suites_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "latest.json"
    keep([Figure("one", 1, 1, 1, "us"), Figure("two", 2, 2, 2, "us")], path)
    keep([Figure("two", 3, 2, 4, "us")], path)
    found = json.loads(path.read_text(encoding="utf-8"))
    assert {name: figure["median"] for name, figure in found.items()} == {"one": 1, "two": 3}


@pytest.mark.slow
def test_a_large_result_streams_with_flat_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speed is left to `make bench`: beside other tests it means nothing."""
    monkeypatch.setattr(large_file, "_REPEATS", 1)
    found = {figure.name: figure.median for figure in large_file.measure()}
    assert 0 < found["large_file_rss_above_idle"] < 64


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_large_video_of_a_person_passes_with_flat_memory() -> None:
    (grown,) = video_memory.peaks({"person": 150 << 20}, 1)["person"]
    assert grown < 64
