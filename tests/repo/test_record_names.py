"""A record's name is written only with its record class. The rule is tested to fail where it must."""

from __future__ import annotations

from pathlib import Path

from tests.repo.record_names import WORDS, names_outside
from tests.seams.scratch import ROOT, Scratch


def test_no_module_outside_the_ledger_writes_the_name_of_a_record() -> None:
    assert names_outside(ROOT) == []


PLANTED = {
    "consumers/stages/generate.py": 'f"call-{1}-{2}"',
    "consumers/stages/collect.py": 'f"call-{1}-{2}-id"',
    "consumers/stages/poll.py": '"call-1-1-end"',
    "consumers/engine/engine.py": '"begun-clean-0"',
    "consumers/engine/effects.py": 'f"begun-{_DOUBTFUL}-0"',
    "tasks/next_step.py": '"collected-1"',
    "tasks/wakes.py": '"reopen_denied"',
    "producer/sweep_rules.py": '"accepted"',
    "producer/sweep.py": '"ledger/u/t/0-0/verdict"',
    "console/cli/show.py": '{"delivered": 1}',
    "runtime/wiring.py": '"waits-generate.1-0"',
}
"""Module -> an expression with a record's name in it."""


def test_each_planted_name_is_found(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "copy")
    for name, names in PLANTED.items():
        path = scratch.folder / name
        path.write_text(f"{path.read_text(encoding='utf-8')}\n_X = {names}\n", encoding="utf-8")
    assert {guilty.partition(":")[0] for guilty in names_outside(scratch.folder)} == set(PLANTED)


def test_every_word_that_is_excused_is_still_there() -> None:
    for name, words in WORDS.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        assert [word for word in words if f'"{word}"' not in text] == []
