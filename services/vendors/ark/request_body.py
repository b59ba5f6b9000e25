"""The body of a paid call to Ark, checked by the rules of its model before anything is sent. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from messages.codes import Code
from services.errors import VendorRefused
from services.vendors.ark.models import ModelRules, check_size, rules_of
from services.vendors.port import JobRequest

__all__ = ["IMAGE_TYPES", "MOST_UPLOAD_BYTES", "request_body"]

MOST_UPLOAD_BYTES: Final = 10 * 1024 * 1024
"""10 MB a reference picture (docs/reference/ark.md)."""
IMAGE_TYPES: Final = frozenset({"image/jpeg", "image/png"})
"""Media types of reference pictures that every model takes."""

_NAMES: Final = frozenset({"prompt", "size", "format", "model"})
_FORMATS: Final = frozenset({"jpeg", "png"})
_MODEL: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_REFERENCES: Final = ("https://", "http://", *(f"data:{kind};base64," for kind in sorted(IMAGE_TYPES)))


def request_body(request: JobRequest, *, model: str, watermark: bool) -> Mapping[str, object]:
    """Return the body: one picture, by a URL.

    Args:
        request: its inputs are the reference pictures in their order; of its values `prompt` is needed, and `size`,
            `format` (a wish: jpeg or png, where the model has a choice) and `model` are optional.
        model: id of the model, or of an endpoint, where the request names none.
        watermark: put the vendor's own watermark on the picture.

    Raises:
        services.errors.VendorRefused: the model takes no such request. Its text quotes no prompt and no reference.
    """
    values = request.values
    if unknown := sorted(values.keys() - _NAMES):
        raise VendorRefused(f"no field for {', '.join(unknown)}")
    model = (values.get("model") or model).lower()
    if not _MODEL.fullmatch(model):
        raise VendorRefused("not the id of a model or of an endpoint", code=Code.BAD_PARAMETERS)
    if not values.get("prompt", "").strip():
        raise VendorRefused("no prompt", code=Code.BAD_PARAMETERS)
    rules = rules_of(model)
    return {
        "model": model,
        "prompt": values["prompt"],
        **_references(request.inputs, rules, model),
        **_size(values.get("size", ""), rules, model),
        **_format(values.get("format", ""), rules),
        **({"sequential_image_generation": "disabled", "stream": False} if rules.has_modes else {}),
        "response_format": "url",
        "watermark": watermark,
    }


def _references(inputs: Mapping[str, str], rules: ModelRules, model: str) -> Mapping[str, object]:
    if len(inputs) > rules.references:
        text = f"{len(inputs)} reference pictures, and {model} takes {rules.references}"
        raise VendorRefused(text, code=Code.BAD_PARAMETERS)
    if odd := [name for name, value in inputs.items() if not value.startswith(_REFERENCES)]:
        raise VendorRefused(f"neither a URL nor a data URI: {', '.join(odd)}")
    return {"image": list(inputs.values())} if inputs else {}


def _size(size: str, rules: ModelRules, model: str) -> Mapping[str, object]:
    if not size:
        return {}
    size = size.upper() if size[-1] in "kK" else size.lower()
    if wrong := check_size(size, rules):
        raise VendorRefused(f"size {size[:20]!r} of {model}: {wrong}", code=Code.BAD_PARAMETERS)
    return {"size": size}


def _format(wish: str, rules: ModelRules) -> Mapping[str, object]:
    if wish and wish not in _FORMATS:
        raise VendorRefused(f"format {wish[:20]!r} is neither jpeg nor png", code=Code.BAD_PARAMETERS)
    return {"output_format": wish} if wish and len(rules.formats) > 1 else {}
