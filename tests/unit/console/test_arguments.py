"""Photos and parameters on the command line: how they make tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from console.cli.arguments import BadUsage, inputs_for_each, inputs_for_tasks, inputs_of_task, read_params
from recipes.table import RECIPES


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    made = [tmp_path / name for name in ("a.jpg", "b.png", "c.webp")]
    for path in made:
        path.write_bytes(b"x")
    return made


@pytest.mark.parametrize("kind", ["model_pose12", "basic_clean", "ai_image_preprocess", "ai_image_prompt"])
def test_a_kind_that_does_each_photo_by_itself_gets_one_a_task_in_turn(photos: list[Path], kind: str) -> None:
    a, b, c = photos
    assert inputs_for_tasks(photos, 0, kind) == ((a,), (b,), (c,))
    assert inputs_for_tasks(photos, 4, kind) == ((a,), (b,), (c,), (a,))
    assert inputs_for_tasks(photos, 1, kind) == ((a,),)


@pytest.mark.parametrize("kind", ["photography", "ai_image"])
def test_a_kind_that_combines_photos_gets_all_of_them_in_each_task(photos: list[Path], kind: str) -> None:
    assert inputs_for_tasks(photos, 0, kind) == (tuple(photos),)
    assert inputs_for_tasks(photos, 2, kind) == (tuple(photos), tuple(photos))
    with pytest.raises(BadUsage, match=f"--kind {kind} takes 1 to 10 photos, and was given 12"):
        inputs_for_tasks(photos * 4, 0, kind)


def test_each_photo_is_a_task_only_where_the_kind_takes_one(photos: list[Path]) -> None:
    a, b, c = photos
    assert inputs_for_each(photos, "basic_clean") == ((a,), (b,), (c,))
    assert inputs_for_each(photos, "photography") == ((a, b, c),)
    assert inputs_for_each([], "ai_image_generate") == ((),)
    with pytest.raises(BadUsage, match="takes 1 photo, and was given 0"):
        inputs_for_each([], "model_pose12")


def test_a_kind_without_inputs_takes_no_photo(photos: list[Path]) -> None:
    assert inputs_for_tasks([], 0, "ai_image_generate") == ((),)
    assert inputs_for_tasks([], 2, "ai_image_generate") == ((), ())
    with pytest.raises(BadUsage, match="takes no photos, and was given 3"):
        inputs_for_tasks(photos, 0, "ai_image_generate")


@pytest.mark.parametrize("kind", [kind for kind in RECIPES if kind != "ai_image_generate"])
def test_without_photos_the_sample_is_taken(kind: str) -> None:
    (samples,) = inputs_for_tasks([], 0, kind)
    assert len(samples) == max(1, RECIPES[kind].least_inputs)
    assert samples[0].name == "portrait.jpg"
    assert {sample.name for sample in samples} <= {"portrait.jpg", "garment.png"}


@pytest.mark.parametrize(
    ("kind", "number", "words"),
    [
        ("model_pose12", 0, "1 photo, and was given 0"),
        ("model_pose12", 2, "1 photo"),
        ("basic_clean", 0, "1 to 12 photos"),
    ],
)
def test_one_task_takes_as_many_photos_as_its_kind(photos: list[Path], kind: str, number: int, words: str) -> None:
    with pytest.raises(BadUsage, match=f"--kind {kind} takes {words}"):
        inputs_of_task(photos[:number], kind)
    assert inputs_of_task(photos[:1], kind) == (photos[0],)


def test_a_photo_that_cannot_be_submitted_is_named(tmp_path: Path) -> None:
    for kind in ("photography", "basic_clean"):
        with pytest.raises(BadUsage, match="no such file"):
            inputs_for_tasks([tmp_path / "none.jpg"], 0, kind)


@pytest.mark.parametrize(
    ("kind", "text", "single", "expected"),
    [
        ("photography", "{}", ["count=3", "note=白色连衣裙"], {"count": 3, "note": "白色连衣裙"}),
        ("photography", '{"count": 1}', ["count=3"], {"count": 3}),
        ("photography", "{}", ['note="12"'], {"note": "12"}),
        ("photography", "{}", ["note=a=b"], {"note": "a=b"}),
        ("ai_image", '{"options": {"n": 1, "size": "2K"}}', ["options.n=2"], {"options": {"n": 2, "size": "2K"}}),
        ("ai_image", "{}", ['options={"n": 4}', "options.size=1K"], {"options": {"n": 4, "size": "1K"}}),
        ("ai_image", "{}", ["options.size=1024x1024"], {"options": {"size": "1024x1024"}}),
        ("ai_image_preprocess", "{}", ["options.compress=true"], {"options": {"compress": True}}),
        ("model_pose12", "{}", ["prompt="], {"prompt": ""}),
    ],
)
def test_single_parameters(kind: str, text: str, single: list[str], expected: dict[str, Any]) -> None:
    assert read_params(text, kind, single) == expected


def test_the_example_of_a_kind_is_left_as_it_is() -> None:
    example = {"options": {"n": 1}, "prompt": "雨天"}
    assert read_params("{}", "ai_image_generate", ["options.n=2"], example) == {"options": {"n": 2}, "prompt": "雨天"}
    assert example == {"options": {"n": 1}, "prompt": "雨天"}
    assert read_params('{"prompt": "晴天"}', "ai_image_generate", (), example)["prompt"] == "晴天"


@pytest.mark.parametrize(
    ("single", "words"),
    [
        ("count", "NAME=VALUE"),
        ("=3", "NAME=VALUE"),
        ("options..n=3", "NAME=VALUE"),
        ("count.x=3", "count is no object"),
        ("count=9", "--param: parameters of photography: .*count"),
        ("colour=red", "--param: parameters of photography: .*colour"),
    ],
)
def test_a_parameter_that_cannot_be_is_named(single: str, words: str) -> None:
    with pytest.raises(BadUsage, match=words):
        read_params('{"count": 1}', "photography", [single])
