"""The bodies of calls to VOD; of a paid one, checked by the rules of its model before anything is sent. Pure."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import msgspec

from messages.codes import Code
from services.errors import VendorRefused
from services.vendors.port import JobRequest
from services.vendors.vod.models import Action, ModelRules, rules_of

__all__ = ["PaidRequest", "list_body", "paid_request_of"]

_NAMES: Final = frozenset({"prompt", "size", "ratio", "format", "model"})
_FORMATS: Final = frozenset({"jpeg", "png"})
_MOST_IDENTITY: Final = 50
_PAGE: Final = 100
"""Rows of a page, at most."""
_LISTED_S: Final = 86_400.0
"""Age of the oldest job that is listed, in seconds: longer than any deadline. The vendor lists three days."""


class PaidRequest(msgspec.Struct, frozen=True):
    """A paid call."""

    action: Action
    body: Mapping[str, object]


def paid_request_of(request: JobRequest, *, model: str) -> PaidRequest:
    """Return the paid call for a request: one picture, for as long as the vendor keeps it.

    Args:
        request: its inputs are reference pictures in their order, by URL; for try-on the person, then the clothes. Of
            its values, `prompt` (not needed for try-on), `size`, `ratio`, `format` (jpeg or png) and `model` are known.
            Its identity becomes the SessionId, by which a second create of the same call is refused.
        model: code of the model where the request names none.

    Raises:
        services.errors.VendorRefused: the model takes no such request. Its text quotes no prompt and no reference.
    """
    values = request.values
    if unknown := sorted(values.keys() - _NAMES):
        raise VendorRefused(f"no field for {', '.join(unknown)}")
    if len(request.identity) > _MOST_IDENTITY:
        raise VendorRefused("the identity of the call is longer than a SessionId may be")
    code = values.get("model") or model
    rules = rules_of(code)
    if rules is None:
        raise VendorRefused(f"no model {code[:40]!r} is known", code=Code.BAD_PARAMETERS)
    files = _files(request.inputs, rules, code)
    body = _try_on(values, files, rules) if rules.action is Action.SCENE else _image(values, files, rules, code)
    return PaidRequest(rules.action, body | ({"SessionId": request.identity} if request.identity else {}))


def list_body(now: float, token: str) -> Mapping[str, object]:
    """Return the filter for a page of jobs, the newest first.

    Args:
        now: seconds since the epoch.
        token: that the page before ended with; empty for the first page.
    """
    after = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - _LISTED_S))
    newest_first = {"Field": "CreateTime", "Order": "Desc"}
    body: dict[str, object] = {"CreateTime": {"After": after}, "Sort": newest_first, "Limit": _PAGE}
    return body | ({"ScrollToken": token} if token else {})


def _image(values: Mapping[str, str], files: list[dict[str, str]], rules: ModelRules, code: str) -> dict[str, object]:
    prompt = values.get("prompt", "")
    if not prompt.strip():
        raise VendorRefused("no prompt", code=Code.BAD_PARAMETERS)
    output: dict[str, object] = {
        "StorageMode": "Temporary",
        **_chosen("Resolution", values.get("size", ""), rules.sizes, code),
        **_chosen("AspectRatio", values.get("ratio", ""), rules.ratios, code),
    }
    if wish := values.get("format", ""):
        if wish not in _FORMATS:
            raise VendorRefused(f"format {wish[:20]!r} is neither jpeg nor png", code=Code.BAD_PARAMETERS)
        output["OutputFormat"] = wish
    if rules.counts:
        output["OutputImageCount"] = 1
    return {
        "ModelName": rules.name,
        "ModelVersion": rules.version,
        # The prompt that passed its audit is the one that is drawn.
        "Prompt": prompt,
        "EnhancePrompt": "Disabled",
        **({"FileInfos": files} if files else {}),
        "OutputConfig": output,
    }


def _try_on(values: Mapping[str, str], files: list[dict[str, str]], rules: ModelRules) -> dict[str, object]:
    if values.get("ratio"):
        raise VendorRefused(f"{rules.name} takes no proportions", code=Code.BAD_PARAMETERS)
    prompt = values.get("prompt", "").strip()
    config = {"Model": rules.name, "ClothesFileInfos": files[1:], **({"Prompt": prompt} if prompt else {})}
    return {
        "SceneInfo": {"Type": "ai_try_on", "AiTryOnConfig": config},
        "FileInfos": files[:1],
        "OutputConfig": {
            "StorageMode": "Temporary",
            **_chosen("Resolution", values.get("size", ""), rules.sizes, rules.name),
        },
    }


def _files(inputs: Mapping[str, str], rules: ModelRules, code: str) -> list[dict[str, str]]:
    if not rules.least_inputs <= len(inputs) <= rules.most_inputs:
        text = f"{len(inputs)} pictures, and {code} takes {rules.least_inputs} to {rules.most_inputs}"
        raise VendorRefused(text, code=Code.BAD_PARAMETERS)
    if odd := [name for name, value in inputs.items() if not value.startswith(("https://", "http://"))]:
        raise VendorRefused(f"no URL: {', '.join(odd)}")
    return [{"Type": "Url", "Url": url} for url in inputs.values()]


def _chosen(field: str, wish: str, allowed: tuple[str, ...], code: str) -> dict[str, object]:
    """Return a field with one of its allowed values, as the vendor writes it."""
    if not wish:
        return {}
    found = next((value for value in allowed if value.lower() == wish.lower()), "")
    if not found:
        takes = ", ".join(allowed) or "none"
        raise VendorRefused(f"{field} {wish[:20]!r} of {code}: it takes {takes}", code=Code.BAD_PARAMETERS)
    return {field: found}
