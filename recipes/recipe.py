"""Definition of a kind of work as data: the struct `Recipe`. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

import msgspec

from messages.codes import Code
from messages.errors import Permanent, Rejected
from recipes.prompt import Prompt

__all__ = [
    "FORMATS",
    "MOST_SLOTS",
    "BadParameters",
    "BadRecipe",
    "Corner",
    "Params",
    "Plan",
    "Recipe",
    "Sale",
    "parse_params",
    "sale_of",
]

FORMATS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "image": MappingProxyType({"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}),
        "video": MappingProxyType({"mp4": "video/mp4"}),
    }
)
"""Media of results -> extension -> content type, for everything that can be sold."""

Corner = Literal["northwest", "northeast", "southwest", "southeast"]
"""Corner of a picture."""

MOST_SLOTS: Final = 15
"""Paid calls that a run may need at once."""

_AUDIT_S: Final[Mapping[str, float]] = MappingProxyType({"image": 60.0, "video": 300.0})
"""Media of results -> seconds kept between the last call's download and the deadline: for their audit, and for the
label of a video before it."""
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)
_FILE: Final = re.compile(r"[A-Za-z0-9_-]+\.[a-z0-9]+", re.ASCII)
_SOLD: Final = (
    *("kind", "params", "example", "check", "deadline_s", "least_inputs", "most_inputs", "video_inputs", "clean"),
    *("text", "prompt", "slots", "enough", "last_call_s", "count", "result", "media", "extension", "still", "finish"),
)
"""Fields that are the same for each vendor that may do a kind."""
_MAX_ERROR_CHARS: Final = 200
"""Characters of an error about parameters that are reported."""


class BadParameters(Rejected):
    """Parameters that the recipe does not accept; the message names the field."""

    default_code = Code.BAD_PARAMETERS


class BadRecipe(Permanent):
    """A recipe that cannot work; the message names kind and field."""


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every recipe's parameters; unknown names are rejected."""


class Plan(msgspec.Struct, frozen=True):
    """Passes of the picture service over one input; each reads the product of the one before."""

    passes: tuple[str, ...]
    """Rules in the language of `services.objects.port.PictureRule`."""
    extension: str
    """Extension of the last product, without a dot: jpg, png or webp."""
    label: Corner = "northwest"
    """Corner of the visible label of AI-made content after the passes of `finish`: one that is free."""
    quality: int = 95
    """Quality of jpg and webp with which results are saved after the passes of `finish`."""


class Sale(msgspec.Struct, frozen=True):
    """Paid calls of a run with given parameters: fixed when the task is accepted."""

    slots: int
    """Paid calls that the run needs at once."""
    enough: int
    """Slots that must succeed."""
    last_call_s: float
    """Seconds after acceptance at which the results of `enough` slots are taken though others still work; 0 for
    never."""


def _no_plan(_: Params, __: str) -> Plan:
    return Plan((), "jpg")


def _no_check(_: Params) -> None:
    return


def _no_values(_: Params) -> Mapping[str, str]:
    return {}


def _no_text(_: Params) -> str:
    return ""


def _one_slot(_: Params) -> int:
    return 1


def _every_slot(_: Params, slots: int) -> int:
    return slots


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of work. A recipe that cannot work is rejected when its module is imported.

    Raises:
        BadRecipe: a field contradicts another, or has an unknown value.
    """

    kind: str
    params: type[Params]
    example: Mapping[str, Any] = {}
    """Parameters of a first task, for the demo; a kind that demands a parameter needs them."""
    check: Callable[[Any], None] = _no_check
    """Checks parameters against what a deployment has, such as its scenes: raises a `ValueError` that names the field.
    Rules that hold in every deployment are checked by `params` itself."""
    deadline_s: int
    """Seconds from acceptance to the verdict, queueing included."""
    least_inputs: int = 1
    """A task with fewer inputs is rejected at acceptance, before anything is paid. A kind without inputs is sold with a
    `task.json` alone."""
    most_inputs: int = 1
    """A task with more inputs is rejected as well."""
    clean: Callable[[Any, str], Plan] = _no_plan
    """(parameters, extension of the input) -> passes of the picture service. Raises `BadParameters`. A kind with inputs
    needs it."""
    vendor: str = ""
    """Name of the vendor; empty if the clean products, or the text of `prompt`, are the result."""
    values: Callable[[Any], Mapping[str, str]] = _no_values
    """Parameters -> values sent to the vendor besides the inputs. Required for a kind with a vendor, even if empty."""
    inputs: tuple[str, ...] = ("photo",)
    """The vendor's names of the inputs, in the order of the task's inputs."""
    video_inputs: frozenset[str] = frozenset()
    """Those of them that may be a video instead of a picture."""
    most_video_bytes: int = 200 << 20
    """Largest video among the inputs, in bytes. Pictures have the limit of the picture service."""
    most_video_s: float = 60.0
    """Longest video among the inputs, in seconds."""
    count: int = 1
    """Number of results of a vendor's job; any other number is a failure."""
    result: str = "result_{:02d}.{}"
    """Template of the n-th result's name (from 1): number and extension."""
    media: str = "image"
    """Media of a vendor's results: `image` or `video`."""
    extension: str = "jpg"
    """Format of a vendor's results as sold. Pictures are converted to it; a video must already have it."""
    most_bytes: int = 0
    """Largest result in bytes; 0 for the limit of its media (`services.media.types.MOST_BYTES`)."""
    still: str = ""
    """Template of the name of a still of the n-th result, a jpg beside the video; empty for none."""
    expected_s: float = 60.0
    """Usual duration of the vendor's job, in seconds."""
    create_limit_s: float = 90.0
    """Limit of the create call, in seconds."""
    synchronous: bool = False
    """True if the vendor answers the create call with the results, instead of a job to poll."""
    collect_limit_s: float = 180.0
    """Limit of the download of the results, in seconds."""
    text: Callable[[Any], str] = _no_text
    """Parameters -> words of the user's own among them, audited before anything is paid; empty for none."""
    prompt: Prompt | None = None
    """The text that the paid calls send in addition to `values`, as `prompt`; or, without a vendor, the result."""
    slots: Callable[[Any], int] = _one_slot
    """Parameters -> number of paid calls that a run needs at once, each with `count` results."""
    enough: Callable[[Any, int], int] = _every_slot
    """(parameters, slots) -> slots that must succeed."""
    last_call_s: float = 0.0
    """Seconds after acceptance at which the results of `enough` slots are taken though others still work; 0 for as late
    as collecting and auditing allow."""
    finish: Callable[[Any], Plan] | None = None
    """Parameters -> passes of the picture service over each result of a vendor, which is then labelled and saved in the
    plan's format and quality; None only labels and converts it to `extension`."""
    others: tuple[Recipe, ...] = ()
    """The same kind done by other vendors. The setting `{KIND}_VENDOR` chooses one when a task is accepted, and
    `accepted` keeps it; only vendor, values, times and the form of the answer may differ."""

    @property
    def forms(self) -> tuple[Recipe, ...]:
        """The kind by each vendor that may do it, this one first."""
        return (self, *self.others)

    def by(self, vendor: str) -> Recipe:
        """Return the form of the kind that a vendor does; this one if there is none."""
        return next((form for form in self.forms if form.vendor == vendor), self)

    @property
    def content_type(self) -> str:
        """Content type of a vendor's results."""
        return FORMATS[self.media][self.extension]

    def takes_video(self, position: int) -> bool:
        """Return True if the input at a position (from 0) may be a video."""
        return position < len(self.inputs) and self.inputs[position] in self.video_inputs

    def __post_init__(self) -> None:
        for field, why in _faults(self):
            raise BadRecipe(f"recipe {self.kind!r}: `{field}` {why}")


def _faults(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield each wrong field with the reason."""
    if not _NAME.fullmatch(recipe.kind):
        yield "kind", "must be lower-case letters, digits and underscores, at most 32"
    if recipe.deadline_s <= 0:
        yield "deadline_s", "must be above 0"
    if recipe.media not in FORMATS:
        yield "media", f"must be one of {', '.join(FORMATS)}"
    elif recipe.extension not in FORMATS[recipe.media]:
        yield "extension", f"must be one of {', '.join(FORMATS[recipe.media])} for media {recipe.media!r}"
    if recipe.count < 1:
        yield "count", "must be at least 1"
    try:
        parse_params(recipe, recipe.example)
    except BadParameters as error:
        yield "example", f"is not accepted: {error}"
    yield from _input_faults(recipe)
    yield from _result_faults(recipe)
    yield from _prompt_faults(recipe.prompt) if recipe.prompt else ()
    yield from _vendor_faults(recipe) if recipe.vendor else _faults_without_vendor(recipe)
    yield from _form_faults(recipe)


def _form_faults(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield the faults of the same kind by other vendors: the sold result must be the same."""
    vendors = [form.vendor for form in recipe.forms]
    if recipe.others and (not all(vendors) or len(set(vendors)) < len(vendors)):
        yield "others", "must each have a vendor of its own, and so must the recipe"
    for other in recipe.others:
        if differs := sorted(name for name in _SOLD if getattr(other, name) != getattr(recipe, name)):
            yield "others", f"must be the same sale: {', '.join(differs)} of the form by {other.vendor!r} differ"
        if other.others:
            yield "others", "must have no others themselves"


def _input_faults(recipe: Recipe) -> Iterator[tuple[str, str]]:
    if recipe.least_inputs < 0:
        yield "least_inputs", "must not be negative"
    if recipe.least_inputs == 0 and not recipe.vendor and recipe.prompt is None:
        yield "least_inputs", "must be at least 1 without a vendor or a prompt: inputs alone would be the results"
    if recipe.most_inputs < recipe.least_inputs:
        yield "most_inputs", "must not be below `least_inputs`"
    if recipe.most_inputs > 0 and recipe.clean is _no_plan:
        yield "clean", "is required for a kind with inputs"
    if recipe.most_inputs == 0 and recipe.clean is not _no_plan:
        yield "clean", "needs inputs"
    if not recipe.video_inputs <= set(recipe.inputs) or (recipe.video_inputs and not recipe.vendor):
        yield "video_inputs", "must be among `inputs`, and need a vendor: the picture service reads pictures only"
    if recipe.most_video_bytes < 1 or recipe.most_video_s <= 0:
        yield "video_inputs", "need `most_video_bytes` from 1 and `most_video_s` above 0"


def _result_faults(recipe: Recipe) -> Iterator[tuple[str, str]]:
    if not recipe.vendor and recipe.prompt is not None:
        return
    most = recipe.count * MOST_SLOTS if recipe.vendor else recipe.most_inputs
    try:
        names = [recipe.result.format(n, recipe.extension) for n in range(1, most + 1)]
        stills = [recipe.still.format(n, "jpg") for n in range(1, most + 1)] if recipe.still else []
    except (LookupError, ValueError) as error:
        yield "result", f"cannot be filled in with a number and an extension: {error}"
        return
    if len(set(names)) < len(names):
        yield "result", f"must hold the number: {most} results would share a name"
    if stills and (recipe.media != "video" or len({*names, *stills}) < 2 * most or not _FILE.fullmatch(stills[0])):
        yield "still", "needs media 'video', and names of its own that hold the number"
    if recipe.most_bytes < 0:
        yield "most_bytes", "must not be negative"
    for name in names[:1]:
        if not _FILE.fullmatch(name) or not name.endswith(f".{recipe.extension}"):
            yield (
                "result",
                f"makes the name {name!r}, and needs letters, digits, - and _ with the extension at the end",
            )


def _prompt_faults(prompt: Prompt) -> Iterator[tuple[str, str]]:
    if not _NAME.fullmatch(prompt.vendor):
        yield "prompt", "needs a `vendor` of lower-case letters, digits and underscores, at most 32"
    if not prompt.version:
        yield "prompt", "needs a `version`: part of the cache's key"
    if prompt.patience_s < 0 or prompt.limit_s <= 0 or prompt.most_chars < 1:
        yield "prompt", "needs `patience_s` from 0, `limit_s` above 0 and `most_chars` from 1"


def _vendor_faults(recipe: Recipe) -> Iterator[tuple[str, str]]:
    if not _NAME.fullmatch(recipe.vendor):
        yield "vendor", "must be lower-case letters, digits and underscores, at most 32"
    if recipe.values is _no_values:
        yield (
            "values",
            "is required for a kind with a vendor: `lambda _: {}` if it sends nothing besides the inputs",
        )
    if len(recipe.inputs) != recipe.most_inputs:
        yield "inputs", f"names {len(recipe.inputs)} inputs, and `most_inputs` is {recipe.most_inputs}"
    if len(set(recipe.inputs)) < len(recipe.inputs) or not all(recipe.inputs):
        yield "inputs", "must be names that differ"
    if recipe.media != "image" and recipe.finish is not None:
        yield "finish", "needs media 'image': the picture service reads pictures only"
    yield from _time_faults(recipe)
    yield from _slot_faults(recipe)


def _time_faults(recipe: Recipe) -> Iterator[tuple[str, str]]:
    for field in ("expected_s", "create_limit_s", "collect_limit_s"):
        if getattr(recipe, field) <= 0:
            yield field, "must be above 0"
    needed = recipe.create_limit_s + recipe.expected_s + recipe.collect_limit_s
    if recipe.prompt:
        needed += recipe.prompt.patience_s + recipe.prompt.limit_s
    if recipe.deadline_s <= needed:
        limits = "its prompt's patience and limit, create_limit_s, expected_s and collect_limit_s"
        yield "deadline_s", f"must exceed {limits} together: {needed:g} s"
    if recipe.last_call_s < 0:
        yield "last_call_s", "must not be negative"
    if recipe.last_call_s and recipe.enough is _every_slot:
        yield "last_call_s", "needs `enough`: without it, every slot must succeed"
    latest = recipe.deadline_s - recipe.collect_limit_s - _audit_s(recipe)
    if recipe.last_call_s > latest:
        yield "last_call_s", f"must leave time to collect and to audit: {latest:g} s at most"


def _audit_s(recipe: Recipe) -> float:
    """Return the seconds kept for the audit; an unknown media has been reported."""
    return _AUDIT_S.get(recipe.media, max(_AUDIT_S.values()))


def _slot_faults(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield the wrong results of `slots` and `enough` for the example's parameters."""
    try:
        params = parse_params(recipe, recipe.example)
    except BadParameters:
        return
    slots = recipe.slots(params)
    if not 1 <= slots <= MOST_SLOTS:
        yield "slots", f"is {slots} for the example's parameters, and must be from 1 to {MOST_SLOTS}"
    for number in range(1, MOST_SLOTS + 1):
        if not 1 <= recipe.enough(params, number) <= number:
            yield "enough", f"is {recipe.enough(params, number)} of {number} slots"
            return


def _faults_without_vendor(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield fields that need a vendor; without one, each input's clean product or the prompt's text is the result."""
    if recipe.values is not _no_values:
        yield "values", "needs a vendor"
    if recipe.count != 1:
        yield "count", "needs a vendor: without one, each input is a result"
    if recipe.media != "image":
        yield "media", "needs a vendor: the picture service makes pictures only"
    if recipe.slots is not _one_slot:
        yield "slots", "needs a vendor: slots are paid calls"
    if recipe.enough is not _every_slot:
        yield "enough", "needs a vendor: slots are paid calls"
    if recipe.last_call_s:
        yield "last_call_s", "needs a vendor: slots are paid calls"
    if recipe.finish is not None:
        yield "finish", "needs a vendor: without one, `clean` makes the results"
    if recipe.synchronous:
        yield "synchronous", "needs a vendor"
    if recipe.prompt and recipe.deadline_s <= recipe.prompt.patience_s + recipe.prompt.limit_s:
        yield "deadline_s", "must exceed the prompt's patience and limit together"


def sale_of(recipe: Recipe, params: Params, lifetime_s: float) -> Sale:
    """Return the paid calls that a run needs.

    Args:
        recipe: the recipe.
        params: its parameters, as `parse_params` returned them.
        lifetime_s: seconds from acceptance to the deadline.

    Raises:
        BadRecipe: its `slots` or `enough` is out of range for these parameters.
    """
    slots = recipe.slots(params)
    enough = recipe.enough(params, slots)
    if not 1 <= enough <= slots <= MOST_SLOTS:
        raise BadRecipe(f"recipe {recipe.kind!r}: `enough` is {enough} of {slots} slots, of at most {MOST_SLOTS}")
    if enough == slots:
        return Sale(slots, enough, 0.0)
    latest = max(1.0, lifetime_s - recipe.collect_limit_s - _audit_s(recipe))
    return Sale(slots, enough, min(recipe.last_call_s or latest, latest))


def parse_params(recipe: Recipe, values: Mapping[str, Any]) -> Params:
    """Validate parameters of a recipe.

    Raises:
        BadParameters: an unknown name, or a value of the wrong type or range; the message names the field.
    """
    try:
        params = msgspec.convert(dict(values), recipe.params)
        recipe.check(params)
    except (msgspec.ValidationError, ValueError) as error:
        # The error quotes unknown names, which an uploader may make arbitrarily long.
        raise BadParameters(f"parameters of {recipe.kind}: {str(error)[:_MAX_ERROR_CHARS]}") from error
    return params
