"""Recipes: a kind's inputs, and its requests to the picture service and the vendor."""

from __future__ import annotations

import itertools
import re
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recipes
from messages.codes import Code
from messages.errors import Rejected
from recipes.ai_image_generate import AI_IMAGE_GENERATE
from recipes.ai_image_prompt import AI_IMAGE_PROMPT
from recipes.basic_clean import BASIC_CLEAN, Background, BasicCleanParams, Format
from recipes.model_pose12 import MODEL_POSE12, ModelPose12Params
from recipes.photography import PHOTOGRAPHY
from recipes.prompt import Prompt
from recipes.recipe import BadParameters, BadRecipe, Params, Recipe, parse_params
from recipes.table import RECIPES, UnknownKind, recipe_of
from recipes.video_tryon import VIDEO_TRYON

EVERY = pytest.mark.parametrize("recipe", [*RECIPES.values()], ids=lambda recipe: recipe.kind)


# ---- parameters ------------------------------------------------------------------------------------------------------


def test_defaults() -> None:
    assert parse_params(BASIC_CLEAN, {}) == BasicCleanParams("", 85, 4096, "keep")
    assert parse_params(MODEL_POSE12, {}) == ModelPose12Params("")


def test_values_given() -> None:
    given_values = {"format": "webp", "quality": 1, "max_side": 10_000, "background": "goods"}
    assert parse_params(BASIC_CLEAN, given_values) == BasicCleanParams("webp", 1, 10_000, "goods")
    assert parse_params(MODEL_POSE12, {"prompt": "穿" * 500}) == ModelPose12Params("穿" * 500)


BAD: list[tuple[Recipe, dict[str, Any], str]] = [
    (BASIC_CLEAN, {"format": "gif"}, "format"),
    (BASIC_CLEAN, {"format": "jpeg"}, "format"),
    (BASIC_CLEAN, {"format": None}, "format"),
    (BASIC_CLEAN, {"format": ["jpg"]}, "format"),
    (BASIC_CLEAN, {"quality": 0}, "quality"),
    (BASIC_CLEAN, {"quality": 101}, "quality"),
    (BASIC_CLEAN, {"quality": -1}, "quality"),
    (BASIC_CLEAN, {"quality": 10**30}, "quality"),
    (BASIC_CLEAN, {"quality": "85"}, "quality"),
    (BASIC_CLEAN, {"quality": 85.5}, "quality"),
    (BASIC_CLEAN, {"quality": True}, "quality"),
    (BASIC_CLEAN, {"quality": float("nan")}, "quality"),
    (BASIC_CLEAN, {"max_side": 63}, "max_side"),
    (BASIC_CLEAN, {"max_side": 10_001}, "max_side"),
    (BASIC_CLEAN, {"background": "transparent"}, "background"),
    (BASIC_CLEAN, {"background": "keep", "rule": "imageMogr2/x"}, "rule"),
    (MODEL_POSE12, {"prompt": "x" * 501}, "prompt"),
    (MODEL_POSE12, {"prompt": 5}, "prompt"),
    (MODEL_POSE12, {"prompt": {"text": "x"}}, "prompt"),
    (MODEL_POSE12, {"promt": "x"}, "promt"),
    (MODEL_POSE12, {"workflow": "1910"}, "workflow"),
]


@pytest.mark.parametrize(("recipe", "values", "field"), BAD)
def test_bad_parameters_are_refused_and_the_field_is_named(recipe: Recipe, values: dict[str, Any], field: str) -> None:
    with pytest.raises(BadParameters, match=rf"parameters of {recipe.kind}: .*\b{field}\b") as raised:
        parse_params(recipe, values)
    assert isinstance(raised.value, Rejected)
    assert raised.value.code is Code.BAD_PARAMETERS


@EVERY
@settings(deadline=None)
@given(
    values=st.dictionaries(
        st.sampled_from(["format", "quality", "max_side", "background", "prompt", "x", ""]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.text(max_size=3)),
        max_size=4,
    )
)
def test_parameters_are_taken_or_refused_and_nothing_else(recipe: Recipe, values: dict[str, Any]) -> None:
    before = dict(values)
    try:
        params = parse_params(recipe, values)
    except BadParameters:
        params = None
    assert params is None or type(params) is recipe.params
    assert values == before


# ---- plans -----------------------------------------------------------------------------------------------------------

FORMATS = get_args(Format)
BACKGROUNDS = get_args(Background)
EXTENSIONS = ("jpg", "jpeg", "png", "webp", "JPG", "JPEG", "Png", "WEBP")
KEPT = {"jpg": "jpg", "jpeg": "jpg", "png": "png", "webp": "webp"}
RULE = re.compile(
    r"imageMogr2(/auto-orient)?(/thumbnail/\d+x\d+>)?/format/(jpg|png|webp)(/quality/\d+)?(/strip)?"
    r"|ci-process=(GoodsMatting|AIPortraitMatting|AIPicMatting)"
)


@pytest.mark.parametrize(("target", "background", "extension"), [*itertools.product(FORMATS, BACKGROUNDS, EXTENSIONS)])
def test_every_plan_of_basic_clean(target: Format, background: Background, extension: str) -> None:
    params = BasicCleanParams(format=target, background=background, quality=77, max_side=640)
    if background != "keep" and target == "jpg":
        with pytest.raises(BadParameters, match="`format` must be png or webp"):
            BASIC_CLEAN.clean(params, extension)
        return
    plan = BASIC_CLEAN.clean(params, extension)
    assert plan == BASIC_CLEAN.clean(params, extension)
    assert plan.extension == (target or (KEPT[extension.lower()] if background == "keep" else "png"))
    assert all(RULE.fullmatch(rule) for rule in plan.passes)
    first, last = plan.passes[0], plan.passes[-1]
    # Turned upright and made smaller first, so that every later pass works on the smaller picture.
    assert first.startswith("imageMogr2/auto-orient/thumbnail/640x640>/format/")
    assert f"/format/{plan.extension}" in last
    assert last.endswith("/strip")
    assert ("/quality/77" in last) == (plan.extension != "png")
    if background == "keep":
        assert len(plan.passes) == 1
    else:
        # The cut-out needs a format with transparency from one pass to the next.
        assert "/format/png" in first
        assert plan.passes[1].startswith("ci-process=")
        assert len(plan.passes) == 3


def test_each_background_has_its_own_cut_out() -> None:
    cut_outs = {name: BASIC_CLEAN.clean(BasicCleanParams(background=name), "jpg").passes for name in BACKGROUNDS}
    assert {name: passes[1] for name, passes in cut_outs.items() if len(passes) > 1} == {
        "goods": "ci-process=GoodsMatting",
        "portrait": "ci-process=AIPortraitMatting",
        "general": "ci-process=AIPicMatting",
    }


@given(st.integers(64, 10_000), st.integers(1, 100))
def test_bounds_reach_the_rule(max_side: int, quality: int) -> None:
    (rule,) = BASIC_CLEAN.clean(BasicCleanParams(max_side=max_side, quality=quality), "jpg").passes
    assert rule == f"imageMogr2/auto-orient/thumbnail/{max_side}x{max_side}>/format/jpg/quality/{quality}/strip"


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_model_pose12_sends_the_vendor_one_jpg(extension: str) -> None:
    plan = MODEL_POSE12.clean(ModelPose12Params(), extension)
    assert plan.extension == "jpg"
    assert plan.passes == ("imageMogr2/auto-orient/thumbnail/4096x4096>/format/jpg/quality/92/strip",)


def test_the_words_for_the_model_are_the_user_s_own() -> None:
    assert MODEL_POSE12.text(ModelPose12Params("雨天")) == "雨天"
    assert BASIC_CLEAN.text(BasicCleanParams()) == ""


def test_an_empty_prompt_is_left_to_the_workflow() -> None:
    assert MODEL_POSE12.values(ModelPose12Params()) == {}
    assert MODEL_POSE12.values(ModelPose12Params("雨天")) == {"prompt": "雨天"}


# ---- the table -------------------------------------------------------------------------------------------------------


def test_the_table_has_every_recipe_of_the_package() -> None:
    import importlib
    import pkgutil

    modules = [importlib.import_module(f"recipes.{found.name}") for found in pkgutil.iter_modules(recipes.__path__)]
    made = {id(value): value for module in modules for value in vars(module).values() if isinstance(value, Recipe)}
    assert {recipe.kind for recipe in made.values()} == set(RECIPES)
    # A kind that several vendors do is one recipe with a form for each of them.
    forms = [id(form) for recipe in RECIPES.values() for form in recipe.forms]
    assert {id(recipe) for recipe in RECIPES.values()} <= set(made)
    assert len(set(made) - set(forms)) == sum(bool(recipe.others) for recipe in RECIPES.values())
    assert set(RECIPES) >= {"basic_clean", "model_pose12"}


@EVERY
def test_a_recipe_is_found_by_its_kind(recipe: Recipe) -> None:
    assert recipe_of(recipe.kind) is recipe
    params = parse_params(recipe, recipe.example)
    assert not set(recipe.values(params)) & set(recipe.inputs)
    assert recipe.prompt is None or "prompt" not in recipe.values(params)


# ---- recipes that cannot work ----------------------------------------------------------------------------------------

NO_CLEAN = AI_IMAGE_GENERATE.clean


def replaced_prompt(**changes: Any) -> Prompt:
    assert PHOTOGRAPHY.prompt is not None
    return msgspec.structs.replace(PHOTOGRAPHY.prompt, **changes)


BAD_RECIPES: list[tuple[Recipe, dict[str, Any], str]] = [
    (BASIC_CLEAN, {"kind": "Poster"}, "kind"),
    (BASIC_CLEAN, {"deadline_s": 0}, "deadline_s"),
    (BASIC_CLEAN, {"least_inputs": 0}, "least_inputs"),
    (BASIC_CLEAN, {"least_inputs": 13}, "most_inputs"),
    (BASIC_CLEAN, {"least_inputs": -1}, "least_inputs"),
    (BASIC_CLEAN, {"example": {"format": "gif"}}, "example"),
    (AI_IMAGE_GENERATE, {"example": {}}, "example"),
    (BASIC_CLEAN, {"slots": lambda _: 2}, "slots"),
    (BASIC_CLEAN, {"enough": lambda _, slots: slots}, "enough"),
    (BASIC_CLEAN, {"last_call_s": 60.0}, "last_call_s"),
    (BASIC_CLEAN, {"finish": lambda _: None}, "finish"),
    (BASIC_CLEAN, {"synchronous": True}, "synchronous"),
    (BASIC_CLEAN, {"values": dict}, "values"),
    (BASIC_CLEAN, {"count": 2}, "count"),
    (BASIC_CLEAN, {"media": "video", "extension": "mp4"}, "media"),
    (BASIC_CLEAN, {"result": "result.{1}"}, "result"),
    (MODEL_POSE12, {"media": "sound"}, "media"),
    (MODEL_POSE12, {"extension": "gif"}, "extension"),
    (MODEL_POSE12, {"extension": "mp4"}, "extension"),
    (MODEL_POSE12, {"media": "video"}, "extension"),
    (MODEL_POSE12, {"video_inputs": frozenset({"person"})}, "video_inputs"),
    (MODEL_POSE12, {"video_inputs": frozenset({"photo"}), "most_video_bytes": 0}, "video_inputs"),
    (MODEL_POSE12, {"video_inputs": frozenset({"photo"}), "most_video_s": 0.0}, "video_inputs"),
    (BASIC_CLEAN, {"video_inputs": frozenset({"photo"})}, "video_inputs"),
    (MODEL_POSE12, {"still": "still_{:02d}.{}"}, "still"),
    (VIDEO_TRYON, {"still": "still.{1}", "count": 2}, "still"),
    (VIDEO_TRYON, {"still": "../{}.{}"}, "still"),
    (VIDEO_TRYON, {"still": "{}_{}_{}.{}"}, "result"),
    (MODEL_POSE12, {"most_bytes": -1}, "most_bytes"),
    (MODEL_POSE12, {"count": 0}, "count"),
    (MODEL_POSE12, {"result": "frame.{1}"}, "result"),
    (MODEL_POSE12, {"result": "frame_{}"}, "result"),
    (MODEL_POSE12, {"result": "../{}.{}"}, "result"),
    (MODEL_POSE12, {"result": "{}_{}_{}.{}"}, "result"),
    (MODEL_POSE12, {"vendor": "Running Hub"}, "vendor"),
    (MODEL_POSE12, {"inputs": ("person", "garment")}, "inputs"),
    (MODEL_POSE12, {"inputs": ("photo", "photo"), "most_inputs": 2}, "inputs"),
    (MODEL_POSE12, {"expected_s": 0}, "expected_s"),
    (MODEL_POSE12, {"create_limit_s": -1}, "create_limit_s"),
    (MODEL_POSE12, {"deadline_s": 360}, "deadline_s"),
    (MODEL_POSE12, {"clean": NO_CLEAN}, "clean"),
    (MODEL_POSE12, {"slots": lambda _: 0}, "slots"),
    (MODEL_POSE12, {"slots": lambda _: 16}, "slots"),
    (MODEL_POSE12, {"enough": lambda _, __: 0}, "enough"),
    (MODEL_POSE12, {"enough": lambda _, slots: slots + 1}, "enough"),
    (MODEL_POSE12, {"enough": lambda _, __: 2}, "enough"),
    (MODEL_POSE12, {"last_call_s": 60.0}, "last_call_s"),
    (
        MODEL_POSE12,
        {"media": "video", "extension": "mp4", "finish": lambda _: None},
        "finish",
    ),
    (PHOTOGRAPHY, {"last_call_s": -1.0}, "last_call_s"),
    (PHOTOGRAPHY, {"last_call_s": 961.0}, "last_call_s"),
    (PHOTOGRAPHY, {"deadline_s": 490, "last_call_s": 0.0}, "deadline_s"),
    (PHOTOGRAPHY, {"prompt": replaced_prompt(vendor="Token Hub")}, "prompt"),
    (PHOTOGRAPHY, {"prompt": replaced_prompt(version="")}, "prompt"),
    (PHOTOGRAPHY, {"prompt": replaced_prompt(patience_s=-1.0)}, "prompt"),
    (PHOTOGRAPHY, {"prompt": replaced_prompt(limit_s=0.0)}, "prompt"),
    (PHOTOGRAPHY, {"prompt": replaced_prompt(most_chars=0)}, "prompt"),
    (AI_IMAGE_PROMPT, {"deadline_s": 150}, "deadline_s"),
    (AI_IMAGE_PROMPT, {"count": 2}, "count"),
    (AI_IMAGE_GENERATE, {"least_inputs": 1, "most_inputs": 1, "inputs": ("photo",)}, "clean"),
    (AI_IMAGE_GENERATE, {"clean": BASIC_CLEAN.clean}, "clean"),
    (AI_IMAGE_GENERATE, {"inputs": ("photo",)}, "inputs"),
]


@pytest.mark.parametrize(("recipe", "changes", "field"), BAD_RECIPES)
def test_a_recipe_that_cannot_work_names_its_kind_and_the_field(
    recipe: Recipe, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(BadRecipe, match=rf"^recipe '{changes.get('kind', recipe.kind)}': `{field}`"):
        msgspec.structs.replace(recipe, **changes)


def test_a_vendor_without_values_is_refused() -> None:
    with pytest.raises(BadRecipe, match="`values` is required"):
        Recipe(kind="k", params=Params, deadline_s=900, clean=MODEL_POSE12.clean, vendor="runninghub")


def test_the_content_type_is_that_of_the_extension() -> None:
    assert VIDEO_TRYON.content_type == "video/mp4"
    assert MODEL_POSE12.content_type == "image/jpeg"


def test_the_result_names_that_the_backend_shows() -> None:
    assert [MODEL_POSE12.result.format(n, "jpg") for n in (1, 12)] == ["frame_01.jpg", "frame_12.jpg"]
    assert MODEL_POSE12.count == 12


def test_what_is_said_of_a_bad_name_is_short_however_long_it_is() -> None:
    with pytest.raises(BadParameters, match="eyJ-eyJ-") as raised:
        parse_params(BASIC_CLEAN, {"eyJ-" * 15_000: 1})
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("kind", ["", "MODEL_POSE12", "video", "../x", "x" * 5000])
def test_an_unknown_kind_is_refused_and_the_known_ones_are_named(kind: str) -> None:
    with pytest.raises(UnknownKind, match=", ".join(sorted(RECIPES))) as raised:
        recipe_of(kind)
    assert raised.value.code is Code.UNKNOWN_KIND
    # An error text that lists kinds grows with the table, and not faster.
    assert len(str(raised.value)) < 80 + sum(len(name) + 2 for name in RECIPES)


def test_nobody_changes_the_table() -> None:
    with pytest.raises(TypeError):
        RECIPES["x"] = BASIC_CLEAN  # type: ignore[index] - what is tested
