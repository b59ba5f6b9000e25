"""Every kind in the demo: real processes and stand-ins, from the command line to the callback."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from console.cli.trace import read_spans
from recipes.table import RECIPES
from tests.e2e.test_injections import ROOT, demo

PHOTO = str(ROOT / "sandbox/photos/portrait.jpg")

DEMOS: dict[str, tuple[list[str], list[str], int]] = {
    "ai_image": (
        [PHOTO, PHOTO, "--param", "options.n=2", "--param", "options.format=png"],
        ["image_01.png", "image_02.png"],
        2,
    ),
    "ai_image_generate": (["--param", "options.size=1024x1024"], ["image_01.jpg"], 1),
    "ai_image_preprocess": (
        ["--params", '{"options": {"resize": {"width": 100, "height": 80, "mode": "fill"}, "format": "webp"}}'],
        ["image_01.webp"],
        0,
    ),
    "ai_image_prompt": ([], [], 0),
    "basic_clean": (["--param", "max_side=200"], ["result_01.jpg"], 0),
    "fitting": ([PHOTO, PHOTO, "--param", "quality=pro", "--param", "size=1K"], ["fitting_01.jpg"], 1),
    "model_pose12": ([], [f"frame_{n:02d}.jpg" for n in range(1, 13)], 1),
    "photography": (
        [PHOTO, "--param", "count=3", "--param", "scene=beach"],
        [f"photo_{n:02d}.jpg" for n in range(1, 4)],
        3,
    ),
    "promo_poster": (
        [PHOTO, PHOTO, "--param", "shape=story", "--param", "title=秋日新品全场上市", "--param", "price=199.90"],
        ["poster_01.jpg"],
        1,
    ),
}
"""Kind -> its arguments, the names of its results, and its paid calls."""


def test_every_kind_is_shown() -> None:
    assert set(DEMOS) == set(RECIPES)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", [kind for kind in DEMOS if kind != "model_pose12"])  # every other demo does that one
def test_a_demo_of_the_kind(tmp_path: Path, kind: str) -> None:
    arguments, names, paid = DEMOS[kind]
    report = demo(tmp_path, "--kind", kind, *arguments)
    (task,) = report["tasks"]
    assert (task["kind"], task["status"], task["error"], task["degraded"]) == (kind, "success", None, [])
    assert report["quota"] == {"charged": 1, "refunded": 0}
    assert [Path(key).name for key in task["outputs"]] == names
    assert task["vendor_calls"]["create"] == paid
    assert [(call["status"], call["signature_ok"], call["http_status"]) for call in task["callbacks"]] == [
        ("success", True, 200)
    ]
    assert bool(re.search("[一-鿿]{4}", task["text"])) is (kind == "ai_image_prompt")
    assert sizes(tmp_path, task) == EXPECTED_SIZES[kind]
    spans = read_spans(tmp_path / "out/trace.jsonl")
    audited = [span.start + span.duration for span in spans if span.name.startswith("audit") and not span.failed]
    promoted = [span.start for span in spans if span.name.startswith("promote")]
    # What is shown was audited before; so was the text, which is promoted nowhere.
    assert audited
    assert promoted
    assert all(max(audited) <= start for start in promoted)
    with Image.open(tmp_path / "out/contact_sheet.jpg") as sheet:
        assert sheet.width > 240


EXPECTED_SIZES: dict[str, set[tuple[int, int]]] = {
    "ai_image": {(2048, 2048)},
    "ai_image_generate": {(1024, 1024)},
    "ai_image_preprocess": {(100, 80)},
    "ai_image_prompt": set(),
    "basic_clean": {(200, 200)},
    "fitting": {(768, 1024)},
    "photography": {(2048, 2048)},
    "promo_poster": {(1080, 1920)},
}


def sizes(folder: Path, task: dict[str, Any]) -> set[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    for name in task["files"]:
        with Image.open(folder / name) as picture:
            found.add(picture.size)
    return found
