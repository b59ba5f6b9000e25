"""A record's name stands with its record class only. The rule is seen to bite."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.repo.record_names import WORDS, names_outside
from tests.seams.scratch import ROOT, Scratch


def test_no_module_outside_the_ledger_writes_the_name_of_a_record() -> None:
    assert names_outside(ROOT) == []


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("consumers/stages/generate.py", '_X = f"call-{1}-{2}"'),
        ("consumers/stages/generate.py", '_X = f"call-{1}-{2}-id"'),
        ("consumers/stages/poll.py", '_X = "call-1-1-end"'),
        ("consumers/engine/engine.py", '_X = "begun-clean-0"'),
        ("consumers/engine/engine.py", '_X = f"begun-{_DOUBTFUL}-0"'),
        ("tasks/next_step.py", '_X = "slot-1"'),
        ("tasks/wakes.py", '_X = "reopen_denied"'),
        ("producer/sweep_rules.py", '_X = "accepted"'),
        ("producer/sweep.py", '_X = "ledger/u/t/0-0/verdict"'),
        ("console/cli/show.py", '_X = {"delivered": 1}'),
        ("runtime/wiring.py", '_X = "waits-generate.1-0"'),
    ],
)
def test_a_planted_name_is_found(tmp_path: Path, name: str, line: str) -> None:
    scratch = Scratch(tmp_path / "copy")
    path = scratch.folder / name
    path.write_text(f"{path.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    found = names_outside(scratch.folder)
    assert found
    assert {guilty.partition(":")[0] for guilty in found} == {name}


def test_every_word_that_is_excused_is_still_there() -> None:
    for name, words in WORDS.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        assert [word for word in words if f'"{word}"' not in text] == []
