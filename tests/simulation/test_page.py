"""docs/how-to/simulate-a-deployment.md says what the simulation prints and checks."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT, blocks_of, text_of
from tests.simulation.defects import DEFECTS
from tests.simulation.events import Event

PAGE = "docs/how-to/simulate-a-deployment.md"


def test_the_lines_shown_are_lines_of_a_timeline() -> None:
    (block,) = [block.text for block in blocks_of(PAGE) if block.language == "text"]
    freeze = "FAULT freeze: 100 s before ledger.put_new ledger/user3/task03/0-0/delivered"
    shown = (
        Event(466.3, "w1.1", "generate-1", "task02", "vendor.create task02"),
        Event(566.3, "w2.7", "notify-0", "task03", freeze),
    )
    assert block.splitlines() == [str(event) for event in shown]


def test_the_rules_listed_are_those_of_the_oracle() -> None:
    folder = ROOT / "tests/simulation"
    files = [path for path in folder.glob("*.py") if path.name != "test_page.py"]
    code = "\n".join(path.read_text(encoding="utf-8") for path in [*files, ROOT / "tests/engine/slot_rules.py"])
    reported = set(re.findall(r"\b(?:report|Broken)\(\s*\"(\w+)\"", code))
    rows = re.search(r"\| rule \|.*?\n\n", text_of(PAGE), re.DOTALL)
    assert rows
    listed = {rule for row in rows[0].strip().splitlines()[2:] for rule in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert listed == reported
    assert {defect.rule for defect in DEFECTS.values()} <= listed
