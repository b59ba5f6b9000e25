"""Every kind in the demo: real processes and stand-ins, from the command line to the callback."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from console.cli.trace import read_spans
from recipes.table import RECIPES
from sandbox.video import encode, frame_at, frames_of, probe
from tests.e2e.test_injections import ROOT, demo
from tests.support.ai_label import label_in

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
    "video_tryon": ([], ["video_01.jpg", "video_01.mp4"], 1),
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
    numbers = [label_in((tmp_path / path).read_bytes()).get("ProduceID", "") for path in task["files"]]
    assert numbers == [f"{task['task_id']}-0-0-{name}" if RECIPES[kind].vendor else "" for name in names]
    spans = read_spans(tmp_path / "out/trace.jsonl")
    audited = [span.start + span.duration for span in spans if span.name.startswith("audit") and not span.failed]
    promoted = [span.start for span in spans if span.name.startswith("promote")]
    # What is shown was audited before; so was the text, which is promoted nowhere.
    assert audited
    assert promoted
    assert all(max(audited) <= start for start in promoted)
    with Image.open(tmp_path / "out/contact_sheet.jpg") as sheet:
        assert sheet.width > 240


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_demo_of_fitting_by_the_other_vendor(tmp_path: Path) -> None:
    report = demo(tmp_path, "--kind", "fitting", "--vendor", "ark", PHOTO, PHOTO)
    (task,) = report["tasks"]
    assert (task["status"], task["error"], task["vendor_calls"]["create"]) == ("success", None, 1)
    assert {name: count for name, count in report["accepted"].items() if count} == {"ark": 1}
    assert [Path(key).name for key in task["outputs"]] == ["fitting_01.jpg"]


EXPECTED_SIZES: dict[str, set[tuple[int, int]]] = {
    "ai_image": {(2048, 2048)},
    "ai_image_generate": {(1024, 1024)},
    "ai_image_preprocess": {(100, 80)},
    "ai_image_prompt": set(),
    "basic_clean": {(200, 200)},
    "fitting": {(768, 1024)},
    "photography": {(2048, 2048)},
    "promo_poster": {(1080, 1920)},
    "video_tryon": {(360, 480)},
}


def sizes(folder: Path, task: dict[str, Any]) -> set[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    for name in task["files"]:
        if name.endswith(".mp4"):
            video = probe(folder / name)
            found.add((video.width, video.height))
            continue
        with Image.open(folder / name) as picture:
            found.add(picture.size)
    return found


def _person(path: Path) -> Path:
    """A small video of a person, as a phone would upload it."""
    with Image.open(PHOTO) as opened:
        photo = opened.convert("RGB").resize((240, 320))
    encode((photo.rotate(turn) for turn in range(24)), path)
    return path


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_video_of_a_person_becomes_a_video_that_plays(tmp_path: Path) -> None:
    person = _person(tmp_path / "person.mp4")
    report = demo(tmp_path, "--kind", "video_tryon", str(person), str(ROOT / "sandbox/photos/garment.png"))
    (task,) = report["tasks"]
    assert (task["status"], task["vendor_calls"]["create"], report["quota"]["refunded"]) == ("success", 1, 0)
    (path,) = (tmp_path / name for name in task["files"] if name.endswith(".mp4"))
    video = probe(path)
    assert (video.codec, video.width, video.height, video.frames) == ("h264", 360, 480, 48)
    assert 1.9 < video.seconds < 2.1
    assert sum(1 for _ in frames_of(path, 100)) == 48
    spans = read_spans(tmp_path / "out/trace.jsonl")
    audits = [span for span in spans if span.name.startswith("audit") and "videos" in span.attributes]
    # The words stand in the corner at the start; these two seconds are over before they go.
    assert _is_labelled(path)
    assert label_in(path.read_bytes())["Label"] == "1"
    assert [span for span in spans if span.attributes.get("key", "").endswith("_drawn.mp4")]
    # Of the input and of the result, each at work at its first look.
    assert [span.attributes["ended"] for span in sorted(audits, key=lambda span: span.start)].count(0) >= 2
    assert sum(span.attributes["ended"] for span in audits) == 2


def _is_labelled(path: Path) -> bool:
    """Return True if the first frame has letters, white beside black, in the upper left corner."""
    corner = frame_at(path, 0.0).convert("L").crop((0, 0, 120, 60))
    darkest, lightest = corner.getextrema()
    return darkest < 40 and lightest > 215  # type: ignore[operator] # of one band


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_file_that_only_has_the_name_of_a_video_is_refunded_and_nothing_is_paid(tmp_path: Path) -> None:
    person = tmp_path / "person.mov"
    person.write_bytes(b"GIF89a, renamed")
    report = demo(tmp_path, "--kind", "video_tryon", str(person), PHOTO)
    (task,) = report["tasks"]
    assert (task["error"]["code"], task["vendor_calls"]["create"]) == ("bad_video", 0)
    assert report["quota"] == {"charged": 1, "refunded": 1}
