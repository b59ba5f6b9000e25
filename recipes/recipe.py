"""What a kind of work is, as data: one `Recipe` a kind, one small module each, no I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

import msgspec

from messages.codes import Code
from messages.errors import Permanent, Rejected

__all__ = ["FORMATS", "BadParameters", "BadRecipe", "Params", "Plan", "Recipe", "parse_params"]

FORMATS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "image": MappingProxyType({"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}),
        "video": MappingProxyType({"mp4": "video/mp4"}),
    }
)
"""Media of results -> extension -> content type: all that can be sold."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)
_FILE: Final = re.compile(r"[A-Za-z0-9_-]+\.[a-z0-9]+", re.ASCII)
_SAID: Final = 200
"""Characters that are told of what is wrong with parameters."""


class BadParameters(Rejected):
    """Parameters that the recipe does not take; the message names the field."""

    default_code = Code.BAD_PARAMETERS


class BadRecipe(Permanent):
    """A recipe that cannot work; the message names kind and field."""


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every recipe's parameters: unknown names are refused."""


class Plan(msgspec.Struct, frozen=True):
    """What the picture service does to one input: each pass reads what the pass before it stored."""

    passes: tuple[str, ...]
    """Rules in the language of `services.objects.port.PictureRule`."""
    extension: str
    """Of the last product, without a dot: jpg, png or webp."""


def _no_values(_: Params) -> Mapping[str, str]:
    return {}


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of work. One that cannot work is refused when its module is imported.

    Raises:
        BadRecipe: a field contradicts another, or holds what is not known here.
    """

    kind: str
    params: type[Params]
    deadline_s: int
    """From acceptance to the verdict, queueing included."""
    least_inputs: int = 1
    """A task with fewer inputs is refused at the door, before anything is paid."""
    most_inputs: int = 1
    """A task with more inputs is refused as well."""
    clean: Callable[[Any, str], Plan]
    """(parameters, extension of the input) -> what the picture service does. Raises `BadParameters`."""
    vendor: str = ""
    """Name of the vendor; empty when the clean product is the result."""
    values: Callable[[Any], Mapping[str, str]] = _no_values
    """Parameters -> what is sent to the vendor, besides the inputs. A kind with a vendor says it, if only `{}`."""
    inputs: tuple[str, ...] = ("photo",)
    """Names that the vendor knows the inputs by, in the order of the task's inputs."""
    count: int = 1
    """Results that a vendor's job must bring; fewer or more is a failure."""
    result: str = "result_{:02d}.{}"
    """Name of the n-th result (from 1), by its number and extension."""
    media: str = "image"
    """Of a vendor's results: `image` or `video`."""
    extension: str = "jpg"
    """Format of a vendor's results as they are sold. Pictures are converted to it; a video must come in it."""
    audit: Literal["pictures", "none"] = "pictures"
    """Audit of a vendor's results: `pictures`, or `none` where it must not be needed: there is none of video here."""
    expected_s: float = 60.0
    """How long the vendor usually takes."""
    create_limit_s: float = 90.0
    """How long the create call may take."""
    synchronous: bool = False
    """Whether the vendor's answer to the create is the result, rather than a job to look at later."""
    collect_limit_s: float = 180.0
    """How long bringing the results home may take."""

    @property
    def content_type(self) -> str:
        """Content type of a vendor's results."""
        return FORMATS[self.media][self.extension]

    def __post_init__(self) -> None:
        for field, why in _faults(self):
            raise BadRecipe(f"recipe {self.kind!r}: `{field}` {why}")


def _faults(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield each field that is wrong, and why."""
    if not _NAME.fullmatch(recipe.kind):
        yield "kind", "must be lower-case letters, digits and underscores, at most 32"
    if recipe.deadline_s <= 0:
        yield "deadline_s", "must be above 0"
    if recipe.least_inputs < 1:
        yield "least_inputs", "must be at least 1: a task begins with an upload"
    if recipe.most_inputs < recipe.least_inputs:
        yield "most_inputs", "must not be below `least_inputs`"
    if recipe.media not in FORMATS:
        yield "media", f"must be one of {', '.join(FORMATS)}"
    elif recipe.extension not in FORMATS[recipe.media]:
        yield "extension", f"must be one of {', '.join(FORMATS[recipe.media])} for media {recipe.media!r}"
    if recipe.count < 1:
        yield "count", "must be at least 1"
    yield from _result_faults(recipe)
    yield from _vendor_faults(recipe) if recipe.vendor else _faults_without_vendor(recipe)


def _result_faults(recipe: Recipe) -> Iterator[tuple[str, str]]:
    most = recipe.count if recipe.vendor else recipe.most_inputs
    try:
        names = [recipe.result.format(n, recipe.extension) for n in range(1, most + 1)]
    except (LookupError, ValueError) as error:
        yield "result", f"cannot be filled in with a number and an extension: {error}"
        return
    if len(set(names)) < len(names):
        yield "result", f"must hold the number: {most} results would share a name"
    for name in names[:1]:
        if not _FILE.fullmatch(name) or not name.endswith(f".{recipe.extension}"):
            yield (
                "result",
                f"makes the name {name!r}, and needs letters, digits, - and _ with the extension at the end",
            )


def _vendor_faults(recipe: Recipe) -> Iterator[tuple[str, str]]:
    if not _NAME.fullmatch(recipe.vendor):
        yield "vendor", "must be lower-case letters, digits and underscores, at most 32"
    if recipe.values is _no_values:
        yield "values", "must say what is sent to the vendor besides the inputs: `lambda _: {}` for nothing"
    if len(recipe.inputs) != recipe.most_inputs:
        yield "inputs", f"names {len(recipe.inputs)} inputs, and `most_inputs` is {recipe.most_inputs}"
    if len(set(recipe.inputs)) < len(recipe.inputs) or not all(recipe.inputs):
        yield "inputs", "must be names that differ"
    if recipe.media == "video" and recipe.audit != "none":
        yield "audit", "must be `none` for media 'video': there is no audit of video here, and the recipe must own that"
    if recipe.media == "image" and recipe.audit != "pictures":
        yield "audit", "must be `pictures` for media 'image': nothing is shown that has not passed it"
    for field in ("expected_s", "create_limit_s", "collect_limit_s"):
        if getattr(recipe, field) <= 0:
            yield field, "must be above 0"
    needed = recipe.create_limit_s + recipe.expected_s + recipe.collect_limit_s
    if recipe.deadline_s <= needed:
        yield "deadline_s", f"must exceed create_limit_s, expected_s and collect_limit_s together: {needed:g} s"


def _faults_without_vendor(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield what only a vendor could make true: without one, each input's clean product is a result."""
    if recipe.values is not _no_values:
        yield "values", "needs a vendor"
    if recipe.count != 1:
        yield "count", "needs a vendor: without one, each input is a result"
    if recipe.media != "image":
        yield "media", "needs a vendor: the picture service makes pictures only"


def parse_params(recipe: Recipe, values: Mapping[str, Any]) -> Params:
    """The recipe's parameters, validated.

    Raises:
        BadParameters: a name it does not know, or a value of the wrong type or range; the message names the field.
    """
    try:
        return msgspec.convert(dict(values), recipe.params)
    except msgspec.ValidationError as error:
        # It quotes names that it does not know, and an uploader may make them as long as he likes.
        raise BadParameters(f"parameters of {recipe.kind}: {str(error)[:_SAID]}") from error
