"""A second kind of a vendor takes one recipe, one row of the table and one workflow file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.seams.scratch import ROOT, Scratch

RECIPE = '''"""Twelve pictures of a look book from one photo, by a RunningHub workflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from recipes.recipe import Params, Plan, Recipe

__all__ = ["LOOK_BOOK", "LookBookParams"]


class LookBookParams(Params, frozen=True):
    """Parameters of `look_book`: none."""


def _clean(_: LookBookParams, __: str) -> Plan:
    return Plan(("imageMogr2/auto-orient/thumbnail/2048x2048>/format/jpg/quality/90/strip",), "jpg")


def _values(_: LookBookParams) -> Mapping[str, str]:
    return {}


LOOK_BOOK: Final = Recipe(
    kind="look_book",
    params=LookBookParams,
    deadline_s=1800,
    clean=_clean,
    vendor="runninghub",
    values=_values,
    count=12,
    result="look_{:02d}.{}",
)
"""The recipe."""
'''

OPEN_VENDORS = """
from recipes.table import RECIPES
from runtime.settings import load_settings
from runtime.vendors import open_vendors

environ = {"RUNNINGHUB_API_KEY": "a-key-of-the-stand-in", "RUNNINGHUB_WORKFLOWS": "sandbox/workflows"}
open_vendors(load_settings(environ), RECIPES)
"""

FILES = ["recipes/look_book.py", "recipes/table.py", "sandbox/workflows/look_book.json"]


def _with_look_book(folder: Path) -> Scratch:
    scratch = Scratch(folder)
    scratch.add("recipes/look_book.py", RECIPE)
    scratch.replace(
        "recipes/table.py",
        "from recipes.model_pose12 import MODEL_POSE12\n",
        "from recipes.look_book import LOOK_BOOK\nfrom recipes.model_pose12 import MODEL_POSE12\n",
    )
    scratch.replace("recipes/table.py", "    MODEL_POSE12,\n", "    LOOK_BOOK,\n    MODEL_POSE12,\n")
    workflow = (ROOT / "sandbox/workflows/model_pose12.json").read_text(encoding="utf-8")
    scratch.add("sandbox/workflows/look_book.json", workflow)
    return scratch


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_second_kind_of_a_vendor_touches_three_files_and_runs(tmp_path: Path) -> None:
    scratch = _with_look_book(tmp_path / "copy")
    assert scratch.touched() == FILES
    ran = scratch.run("-m", "console", "demo", "--kind", "look_book", "--json", "--out", str(tmp_path / "out"))
    assert ran.returncode == 0, ran.stderr
    (task,) = json.loads(ran.stdout.splitlines()[-1])["tasks"]
    assert (task["kind"], task["status"], len(task["files"])) == ("look_book", "success", 12)
    assert task["outputs"][0].endswith("/look_01.jpg")


def test_a_kind_without_its_workflow_file_is_refused_at_start_by_name(tmp_path: Path) -> None:
    scratch = _with_look_book(tmp_path / "copy")
    (scratch.folder / "sandbox/workflows/look_book.json").unlink()
    ran = scratch.run("-c", OPEN_VENDORS)
    last = ran.stderr.splitlines()[-1]
    assert last.startswith("runtime.errors.BadSettings: RUNNINGHUB_WORKFLOWS needs a file look_book.json"), ran.stderr


def test_a_workflow_file_whose_inputs_are_not_the_recipes_is_refused(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "copy")
    scratch.replace("sandbox/workflows/model_pose12.json", '"inputs": {\n    "photo"', '"inputs": {\n    "person"')
    scratch.replace(
        "sandbox/workflows/model_pose12.json", '"url_inputs": {\n    "photo"', '"url_inputs": {\n    "person"'
    )
    assert "must name photo, as the recipe does" in scratch.run("-c", OPEN_VENDORS).stderr
