"""The kinds that ask a chat model or Seedream: parameters as clients name them, sizes by model, slots, texts, plans."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ImageFont

from messages.codes import Code
from recipes.ai_image import AI_IMAGE
from recipes.ai_image_generate import AI_IMAGE_GENERATE
from recipes.ai_image_preprocess import AI_IMAGE_PREPROCESS
from recipes.ai_image_prompt import AI_IMAGE_PROMPT
from recipes.photography import PHOTOGRAPHY
from recipes.recipe import BadParameters, BadRecipe, Recipe, Sale, parse_params, sale_of
from recipes.shared.picture_rules import (
    FIT_FOR_VENDOR,
    MOST_STEPS,
    VISIBLE_LABEL,
    arranged,
    last_pass,
    visible_label,
)
from recipes.shared.scenes import SCENES, read_scenes
from recipes.shared.seedream import DEFAULT_MODEL, MODELS, model_of, short_side, size_of
from recipes.table import recipes_with
from sandbox.cos.ci.pictures import Picture, process

PORTRAIT = Path(__file__).parents[3] / "sandbox/photos/portrait.jpg"
FONT = PORTRAIT.parents[1] / "fonts/cjk-subset.otf"
NEWER = "doubao-seedream-4-5-251128"

# The bodies of the API's description, without pictures.
AS_DESCRIBED: list[tuple[Recipe, dict[str, Any]]] = [
    (
        AI_IMAGE,
        {
            "sceneType": "indoor",
            "stylePreference": "modern",
            "options": {"size": "1024x1024", "quality": "standard", "n": 2},
        },
    ),
    (
        AI_IMAGE_PREPROCESS,
        {"options": {"compress": True, "resize": {"width": 1024, "height": 1024, "mode": "fit"}, "format": "webp"}},
    ),
    (AI_IMAGE_PROMPT, {"clothingType": "fashion", "stylePreference": "modern", "sceneType": "indoor"}),
    (
        AI_IMAGE_GENERATE,
        {
            "prompt": "一个穿着时尚服装的模特",
            "options": {"size": "1024x1024", "quality": "standard", "n": 2},
            "modelConfig": {"model": "doubao-Seedream-4-0-250828"},
        },
    ),
]


@pytest.mark.parametrize(("recipe", "values"), AS_DESCRIBED, ids=lambda item: getattr(item, "kind", ""))
def test_the_bodies_of_the_api_are_parameters(recipe: Recipe, values: dict[str, Any]) -> None:
    params = parse_params(recipe, values)
    assert type(params) is recipe.params
    # The stages can read the parameters in `accepted`.
    assert parse_params(recipe, msgspec.json.decode(msgspec.json.encode(values))) == params


BAD: list[tuple[Recipe, dict[str, Any], str]] = [
    (PHOTOGRAPHY, {"scene": "moon"}, "scene"),
    (PHOTOGRAPHY, {"scene": "Beach"}, "scene"),
    (PHOTOGRAPHY, {"count": 0}, "count"),
    (PHOTOGRAPHY, {"count": 5}, "count"),
    (PHOTOGRAPHY, {"size": "512x512"}, "size"),
    (PHOTOGRAPHY, {"size": "3K"}, "size"),
    (PHOTOGRAPHY, {"note": "x" * 201}, "note"),
    (PHOTOGRAPHY, {"watermark": "x" * 33}, "watermark"),
    (PHOTOGRAPHY, {"watermark": "小\n店"}, "watermark"),
    (PHOTOGRAPHY, {"watermark": "小店\n"}, "watermark"),
    (PHOTOGRAPHY, {"images": ["a.jpg"]}, "images"),
    (AI_IMAGE, {"options": {"size": "512x512"}}, "size"),
    (AI_IMAGE, {"options": {"size": "1024"}}, "size"),
    (AI_IMAGE, {"options": {"size": "1024×1024"}}, "size"),
    (AI_IMAGE, {"options": {"size": "01024x1024"}}, "size"),
    (AI_IMAGE, {"options": {"size": "99999x99999"}}, "size"),
    (AI_IMAGE, {"options": {"size": "300x5000"}}, "size"),
    (AI_IMAGE, {"options": {"size": "1024x1024"}, "modelConfig": {"model": NEWER}}, "size"),
    (AI_IMAGE, {"options": {"size": "1K"}, "modelConfig": {"model": NEWER}}, "size"),
    (AI_IMAGE, {"modelConfig": {"model": "gpt-image"}}, "model"),
    (AI_IMAGE, {"options": {"n": 0}}, "n"),
    (AI_IMAGE, {"options": {"n": 5}}, "n"),
    (AI_IMAGE, {"options": {"n": 1.5}}, "n"),
    (AI_IMAGE, {"options": {"quality": "best"}}, "quality"),
    (AI_IMAGE, {"options": {"format": "gif"}}, "format"),
    (AI_IMAGE, {"options": {"watermark": "\x00"}}, "watermark"),
    (AI_IMAGE, {"options": {"seed": 1}}, "seed"),
    (AI_IMAGE, {"scene_type": "indoor"}, "scene_type"),
    (AI_IMAGE, {"sceneType": "x" * 51}, "sceneType"),
    (AI_IMAGE, {"clothingImages": ["https://example.com/a.jpg"]}, "clothingImages"),
    (AI_IMAGE_GENERATE, {}, "prompt"),
    (AI_IMAGE_GENERATE, {"prompt": ""}, "prompt"),
    (AI_IMAGE_GENERATE, {"prompt": " \n"}, "prompt"),
    (AI_IMAGE_GENERATE, {"prompt": "x" * 801}, "prompt"),
    (AI_IMAGE_PROMPT, {"clothingType": 1}, "clothingType"),
    (AI_IMAGE_PROMPT, {"imageUrl": "https://example.com/a.jpg"}, "imageUrl"),
    (AI_IMAGE_PREPROCESS, {"options": {"resize": {"width": 0, "height": 10}}}, "width"),
    (AI_IMAGE_PREPROCESS, {"options": {"resize": {"width": 10}}}, "height"),
    (AI_IMAGE_PREPROCESS, {"options": {"resize": {"width": 10, "height": 10_000}}}, "height"),
    (AI_IMAGE_PREPROCESS, {"options": {"resize": {"width": 10, "height": 10, "mode": "cover"}}}, "mode"),
    (AI_IMAGE_PREPROCESS, {"options": {"crop": {"width": 10, "height": 10, "x": -1}}}, "x"),
    (AI_IMAGE_PREPROCESS, {"options": {"watermark": {"text": ""}}}, "text"),
    (AI_IMAGE_PREPROCESS, {"options": {"watermark": {"text": " "}}}, "text"),
    (AI_IMAGE_PREPROCESS, {"options": {"watermark": {"text": "a\u2028b"}}}, "text"),
    (AI_IMAGE_PREPROCESS, {"options": {"watermark": {"text": "x", "position": "middle"}}}, "position"),
    (AI_IMAGE_PREPROCESS, {"options": {"watermark": {"text": "x", "size": 7}}}, "size"),
    (AI_IMAGE_PREPROCESS, {"options": {"format": "bmp"}}, "format"),
]


@pytest.mark.parametrize(("recipe", "values", "field"), BAD)
def test_bad_parameters_are_refused_and_the_field_is_named(recipe: Recipe, values: dict[str, Any], field: str) -> None:
    with pytest.raises(BadParameters, match=rf"^parameters of {recipe.kind}: .*\b{field}\b") as raised:
        parse_params(recipe, values)
    assert raised.value.code is Code.BAD_PARAMETERS


# ---- models and sizes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_every_named_size_and_the_default_size_are_taken(model: str) -> None:
    for size in (*MODELS[model].short_sizes, "2048x2048"):
        assert size_of(size, model) == size
    assert model_of(model.upper()) == model


@given(st.integers(10, 99_999), st.integers(10, 99_999), st.sampled_from(["", *MODELS]))
def test_a_size_is_taken_if_the_pixels_and_the_proportions_allow_it(width: int, height: int, model: str) -> None:
    rules = MODELS[model or DEFAULT_MODEL]
    size = f"{width}x{height}"
    fits = rules.least_pixels <= width * height <= rules.most_pixels and max(width, height) <= 16 * min(width, height)
    if fits:
        assert size_of(size, model) == size
        assert short_side(size) == min(width, height)
    else:
        with pytest.raises(ValueError, match="`size` must"):
            size_of(size, model)


@given(st.text(max_size=12))
def test_any_text_is_a_size_or_refused(text: str) -> None:
    try:
        assert size_of(text) == text
    except ValueError as error:
        assert "`size` must" in str(error)  # noqa: PT017 - either way is right
    else:
        assert short_side(text) > 0


def test_the_square_of_a_named_size() -> None:
    assert [short_side(name) for name in ("1K", "2K", "4K")] == [1024, 2048, 4096]


# ---- slots -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "enough"), [(1, 1), (2, 1), (3, 2), (4, 2)])
def test_half_of_the_photographs_rounded_up_are_enough(count: int, enough: int) -> None:
    params = parse_params(PHOTOGRAPHY, {"count": count})
    assert sale_of(PHOTOGRAPHY, params, PHOTOGRAPHY.deadline_s) == Sale(
        count, enough, PHOTOGRAPHY.last_call_s if count > enough else 0.0
    )


@pytest.mark.parametrize("n", range(1, 5))
def test_every_picture_of_the_api_must_succeed(n: int) -> None:
    for recipe, more in ((AI_IMAGE, {}), (AI_IMAGE_GENERATE, {"prompt": "雨天"})):
        assert sale_of(recipe, parse_params(recipe, {**more, "options": {"n": n}}), recipe.deadline_s) == Sale(
            n, n, 0.0
        )


def test_without_a_last_call_of_its_own_a_recipe_takes_the_latest_that_leaves_time() -> None:
    late = msgspec.structs.replace(PHOTOGRAPHY, last_call_s=0.0)
    latest = PHOTOGRAPHY.deadline_s - PHOTOGRAPHY.collect_limit_s - 60.0
    assert sale_of(late, parse_params(late, {"count": 4}), late.deadline_s) == Sale(4, 2, latest)


def test_a_shorter_life_has_an_earlier_last_call() -> None:
    params = parse_params(PHOTOGRAPHY, {"count": 4})
    assert sale_of(PHOTOGRAPHY, params, 500.0).last_call_s == 500.0 - PHOTOGRAPHY.collect_limit_s - 60.0
    assert sale_of(PHOTOGRAPHY, params, 30.0).last_call_s == 1.0


def test_a_number_of_slots_that_cannot_be_is_an_error_of_the_recipe() -> None:
    wrong = msgspec.structs.replace(PHOTOGRAPHY, slots=lambda params: params.count * 5 - 4)
    with pytest.raises(BadRecipe, match="of at most 15"):
        sale_of(wrong, parse_params(wrong, {"count": 4}), wrong.deadline_s)


# ---- texts -----------------------------------------------------------------------------------------------------------


def test_only_words_of_the_user_s_own_are_audited() -> None:
    assert PHOTOGRAPHY.text(parse_params(PHOTOGRAPHY, {})) == ""
    assert PHOTOGRAPHY.text(parse_params(PHOTOGRAPHY, {"note": "雨天", "watermark": "小店"})) == "雨天\n小店"
    assert AI_IMAGE.text(parse_params(AI_IMAGE, {"sceneType": "Indoor"})) == ""
    assert (
        AI_IMAGE.text(parse_params(AI_IMAGE, {"sceneType": "月球", "options": {"watermark": "小店"}})) == "月球\n小店"
    )
    assert AI_IMAGE_PROMPT.text(parse_params(AI_IMAGE_PROMPT, {"clothingType": "旗袍"})) == "旗袍"
    assert AI_IMAGE_GENERATE.text(parse_params(AI_IMAGE_GENERATE, {"prompt": "雨天"})) == "雨天"
    marked = {"options": {"watermark": {"text": "小店"}}}
    assert AI_IMAGE_PREPROCESS.text(parse_params(AI_IMAGE_PREPROCESS, marked)) == "小店"
    assert AI_IMAGE_PREPROCESS.text(parse_params(AI_IMAGE_PREPROCESS, {})) == ""


@pytest.mark.parametrize("recipe", [PHOTOGRAPHY, AI_IMAGE, AI_IMAGE_PROMPT], ids=lambda recipe: recipe.kind)
def test_question_and_template_say_what_is_wished(recipe: Recipe) -> None:
    values = (
        {"scene": "beach", "note": "赤脚"}
        if recipe is PHOTOGRAPHY
        else {"sceneType": "beach", "stylePreference": "赤脚"}
    )
    params = parse_params(recipe, values)
    assert recipe.prompt is not None
    question, template = recipe.prompt.ask(params), recipe.prompt.template(params)
    for text in (question.text, template):
        assert "海" in text
        assert "赤脚" in text
    assert "提示词" in question.system
    assert template.startswith("生成时尚摄影照片。")
    assert 0 < len(template) <= recipe.prompt.most_chars


def test_every_scene_has_a_name_and_a_text_in_chinese() -> None:
    assert len(SCENES) >= 12
    for scene in SCENES.values():
        assert re.search("[一-鿿]", scene.name + scene.text)
    assert len({scene.name for scene in SCENES.values()}) == len(SCENES)


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"[]", b"{}", b"\xff", b"[" * 10_000, b'{"a": {}}', b'{"A b": {"name": "x", "text": "y"}}'),
        *(
            b'{"a": {"name": "x", "text": ""}}',
            b'{"a": {"name": " ", "text": "y"}}',
            b'{"": {"name": "x", "text": "y"}}',
        ),
        b'{"a": {"name": "x", "text": "y", "light": "z"}}',
    ],
)
def test_a_file_of_scenes_that_cannot_be_used_is_refused(text: bytes) -> None:
    with pytest.raises((ValueError, msgspec.MsgspecError, RecursionError)):
        read_scenes(text)


def test_scenes_of_a_deployment_take_the_place_of_the_bundled_ones() -> None:
    text = '{"garden": {"name": "花园", "text": "露水未干"}, "runway": {"name": "秀场", "text": "顶部追光"}}'
    recipe = recipes_with(read_scenes(text.encode()))["photography"]
    assert recipe.prompt is not None
    for scene, words in ((None, "露水未干"), ("", "露水未干"), ("runway", "顶部追光")):
        params = parse_params(recipe, {} if scene is None else {"scene": scene})
        assert words in recipe.prompt.ask(params).text
        assert words in recipe.prompt.template(params)
    with pytest.raises(BadParameters, match=r"^parameters of photography: `scene` must be one of garden, runway$"):
        parse_params(recipe, {"scene": "beach"})


# ---- what the picture service is asked -------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [PHOTOGRAPHY, AI_IMAGE, AI_IMAGE_PROMPT], ids=lambda recipe: recipe.kind)
def test_inputs_are_sent_as_small_jpgs(recipe: Recipe) -> None:
    plan = recipe.clean(parse_params(recipe, {}), "png")
    assert (plan.passes, plan.extension) == ((FIT_FOR_VENDOR,), "jpg")


PREPROCESSED: list[tuple[dict[str, Any], str, tuple[int, int]]] = [
    ({}, "jpeg", (512, 512)),
    ({"compress": True}, "jpeg", (512, 512)),
    ({"format": "png"}, "png", (512, 512)),
    ({"format": "webp", "resize": {"width": 300, "height": 200}}, "webp", (200, 200)),
    ({"resize": {"width": 2000, "height": 2000, "mode": "fit"}}, "jpeg", (512, 512)),
    ({"resize": {"width": 300, "height": 200, "mode": "fill"}}, "jpeg", (300, 200)),
    ({"resize": {"width": 900, "height": 700, "mode": "fill"}}, "jpeg", (900, 700)),
    ({"resize": {"width": 300, "height": 200, "mode": "stretch"}}, "jpeg", (300, 200)),
    ({"crop": {"width": 100, "height": 50, "x": 10, "y": 20}}, "jpeg", (100, 50)),
    ({"crop": {"width": 400, "height": 400}, "resize": {"width": 40, "height": 80, "mode": "fill"}}, "jpeg", (40, 80)),
    ({"watermark": {"text": "AI生成", "position": "north", "size": 24}, "format": "webp"}, "webp", (512, 512)),
]


@pytest.mark.parametrize(("options", "form", "size"), PREPROCESSED)
def test_the_picture_that_preprocessing_makes(options: dict[str, Any], form: str, size: tuple[int, int]) -> None:
    plan = AI_IMAGE_PREPROCESS.clean(parse_params(AI_IMAGE_PREPROCESS, {"options": options}), "JPG")
    (rule,) = plan.passes
    made = process(PORTRAIT.read_bytes(), rule)
    assert (made.format, made.width, made.height) == (form, *size)
    assert plan.extension == {"jpeg": "jpg"}.get(form, form)


def test_compressing_makes_a_picture_smaller() -> None:
    def size(options: dict[str, Any]) -> int:
        (rule,) = AI_IMAGE_PREPROCESS.clean(parse_params(AI_IMAGE_PREPROCESS, {"options": options}), "jpg").passes
        return len(process(PORTRAIT.read_bytes(), rule).body)

    assert size({"compress": True, "format": "webp"}) < size({"format": "webp"})


@pytest.mark.parametrize("extension", ["jpg", "png", "webp"])
@pytest.mark.parametrize("watermark", ["", "AI生成", "a/b|c 100%"])
def test_results_are_finished_in_the_format_that_was_sold(extension: str, watermark: str) -> None:
    params = parse_params(AI_IMAGE, {"options": {"format": extension, "watermark": watermark, "quality": "hd"}})
    assert AI_IMAGE.finish is not None
    plan = AI_IMAGE.finish(params)
    before, last = arranged(plan.passes)
    assert before == ()

    def made(last: str) -> Picture:
        rule = last_pass(last, label="", extension=plan.extension, quality=plan.quality, metadata="")
        return process(PORTRAIT.read_bytes(), rule)

    assert (plan.extension, plan.quality) == (extension, 95)
    assert made(last).format == extension.replace("jpg", "jpeg")
    assert (made(last).body == made("imageMogr2/auto-orient").body) is (watermark == "")


STEPS = st.lists(st.sampled_from(["imageMogr2/strip", "watermark/2/text/aGk"]), min_size=1, max_size=10).map("|".join)
PASSES = st.lists(STEPS | st.just("ci-process=GoodsMatting"), max_size=4)


@given(PASSES, st.booleans())
def test_labels_come_last_and_no_step_is_lost(passes: list[str], visible: bool) -> None:  # noqa: FBT001
    before, last = arranged(passes)
    label = visible_label(1000, "northwest") if visible else ""
    end = last_pass(last, label=label, extension="jpg", quality=90, metadata="imageMogr2/AIGCMetadata/Label/MQ")
    steps = "|".join((*before, end)).split("|")
    ours = [
        *filter(None, label.split("|")),
        "imageMogr2/format/jpg/quality/90/strip",
        "imageMogr2/AIGCMetadata/Label/MQ",
    ]
    assert steps == ["imageMogr2/auto-orient", *(step for one in passes for step in one.split("|")), *ours]
    assert all(rule.count("|") < MOST_STEPS for rule in (*before, end))
    assert all(rule == "ci-process=GoodsMatting" or "ci-process" not in rule for rule in (*before, end))


@pytest.mark.parametrize("side", [1, 100, 512, 2048, 4096])
def test_every_letter_of_the_visible_label_is_at_least_a_twentieth_of_the_shorter_side(side: int) -> None:
    sizes = [int(size) for size in re.findall("/fontsize/([0-9]+)/", visible_label(side, "southeast"))]
    font = ImageFont.truetype(FONT, sizes[0])
    assert len(set(sizes)) == 1
    for letter in VISIBLE_LABEL:
        _, top, _, bottom = font.getbbox(letter)
        assert bottom - top >= side * 0.05


def test_the_letters_of_a_watermark_are_a_twentieth_of_the_shorter_side() -> None:
    assert PHOTOGRAPHY.finish is not None
    marked = {"size": "2048x1024", "watermark": "小店"}
    (rule,) = PHOTOGRAPHY.finish(parse_params(PHOTOGRAPHY, marked)).passes
    assert "/fontsize/51/" in rule
    plain = PHOTOGRAPHY.finish(parse_params(PHOTOGRAPHY, {}))
    assert (plain.passes, plain.quality) == ((), 90)


@pytest.mark.parametrize("text", ["店" * 32, "W" * 32, "i" * 32, "小店 SHOP 2026"])
@pytest.mark.parametrize("size", ["2048x2048", "4096x1024", "960x960"])
def test_a_watermark_is_within_the_picture(size: str, text: str) -> None:
    assert PHOTOGRAPHY.finish is not None
    (rule,) = PHOTOGRAPHY.finish(parse_params(PHOTOGRAPHY, {"size": size, "watermark": text})).passes
    letters, margin = (int(re.findall(f"/{name}/([0-9]+)", rule)[0]) for name in ("fontsize", "dx"))
    left, _, right, _ = ImageFont.truetype(FONT, letters).getbbox(text)
    assert right - left + 2 * margin <= min(map(int, size.split("x")))


def test_a_blank_watermark_is_none() -> None:
    assert PHOTOGRAPHY.finish is not None
    assert PHOTOGRAPHY.finish(parse_params(PHOTOGRAPHY, {"watermark": " \u3000"})).passes == ()


def test_what_goes_to_the_vendor() -> None:
    assert PHOTOGRAPHY.values(parse_params(PHOTOGRAPHY, {"size": "1K"})) == {"size": "1K"}
    assert AI_IMAGE.values(parse_params(AI_IMAGE, {})) == {"size": "2048x2048"}
    chosen = {"prompt": "雨天", "modelConfig": {"model": "DOUBAO-seedream-4-0-250828"}}
    assert AI_IMAGE_GENERATE.values(parse_params(AI_IMAGE_GENERATE, chosen)) == {
        "prompt": "雨天",
        "size": "2048x2048",
        "model": DEFAULT_MODEL,
    }
    assert AI_IMAGE.values(parse_params(AI_IMAGE, {"options": {"format": "png"}}))["format"] == "png"
