"""Reading of creates, as strict as the vendor (docs/reference/vod.md). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from sandbox.json_body import json_object
from sandbox.vod.model import IMAGE, MODELS, SCENE, TRY_ON, Account, Refusal, Wanted

__all__ = ["body_of", "check_application", "wanted_of"]

_COMMON: Final = frozenset({"SubAppId", "FileInfos", "OutputConfig", "SessionId", "SessionContext", "TasksPriority"})
_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    IMAGE: _COMMON
    | {"ModelName", "ModelVersion", "Prompt", "NegativePrompt", "EnhancePrompt", "InputRegion", "Seed", "ExtInfo"},
    SCENE: _COMMON | {"SceneInfo", "ExtInfo"},
}
_OUTPUT: Final[Mapping[str, frozenset[str]]] = {
    IMAGE: frozenset({"StorageMode", "Resolution", "AspectRatio", "OutputFormat", "OutputImageCount", "LogoAdd"}),
    SCENE: frozenset({"StorageMode", "Resolution"}),
}
_MOST_SESSION: Final = 50
_MOST_CONTEXT: Final = 1000
_MOST_CLOTHES: Final = 4
_FORBIDDEN: Final = "违禁"
"""A word in a prompt that the vendor's check finds."""


def body_of(content: bytes) -> dict[str, Any]:
    """Return the JSON object of a request.

    Raises:
        Refusal: there is none.
    """
    body = json_object(content)
    if body is None:
        raise Refusal("InvalidParameter", "The request body is not a JSON object.")
    return body


def check_application(body: Mapping[str, Any], account: Account) -> None:
    """Check the application that a request names.

    Raises:
        Refusal: the account has another.
    """
    if int(body.get("SubAppId", 0)) != account.application:
        raise Refusal("InvalidParameterValue.SubAppId", "The SubAppId is not valid.")


def wanted_of(body: Mapping[str, Any], kind: str) -> Wanted:
    """Return the picture that a create asks for.

    Raises:
        Refusal: the vendor does not take it.
    """
    _only(body, _FIELDS[kind])
    output = body.get("OutputConfig", {})
    _only(output, _OUTPUT[kind])
    if len(str(body.get("SessionId", ""))) > _MOST_SESSION:
        raise Refusal("InvalidParameterValue.SessionIdTooLong", "The SessionId is too long.")
    if len(str(body.get("SessionContext", ""))) > _MOST_CONTEXT:
        raise Refusal("InvalidParameterValue.SessionContextTooLong", "The SessionContext is too long.")
    model, prompt, references = _image(body, output) if kind == IMAGE else _try_on(body, output)
    if _FORBIDDEN in prompt:
        raise Refusal("InvalidParameter.VoilationContent", "The prompt violates the content policy.")
    return Wanted(
        type=kind,
        model=model,
        prompt=prompt,
        references=references,
        size=str(output.get("Resolution", "")),
        ratio=str(output.get("AspectRatio", "")),
        format=_format(output),
        count=int(output.get("OutputImageCount", 1)),
        session=str(body.get("SessionId", "")),
        context=str(body.get("SessionContext", "")),
    )


def _image(body: Mapping[str, Any], output: Mapping[str, Any]) -> tuple[str, str, tuple[str, ...]]:
    name, version = str(body.get("ModelName", "")), str(body.get("ModelVersion", ""))
    model = MODELS.get((name, version))
    if model is None:
        raise Refusal("InvalidParameterValue", f"The model {name} {version} is not supported.")
    references = _urls(body.get("FileInfos", []))
    if len(references) > model.references:
        raise Refusal("InvalidParameterValue", f"FileInfos has more than {model.references} files.")
    _one_of(output, "Resolution", model.sizes)
    _one_of(output, "AspectRatio", model.ratios)
    if "OutputImageCount" in output and not model.counts:
        raise Refusal("InvalidParameterValue", f"OutputImageCount is not supported by {name}.")
    prompt = str(body.get("Prompt", ""))
    if not prompt and not references:
        raise Refusal("MissingParameter", "The parameter Prompt is missing.")
    return f"{name}-{version}", prompt, references


def _try_on(body: Mapping[str, Any], output: Mapping[str, Any]) -> tuple[str, str, tuple[str, ...]]:
    scene = body.get("SceneInfo", {})
    config = scene.get("AiTryOnConfig", {})
    if scene.get("Type") != "ai_try_on":
        raise Refusal("InvalidParameterValue", "The stand-in knows the scene ai_try_on alone.")
    if config.get("Model") not in TRY_ON:
        raise Refusal("InvalidParameterValue", "AiTryOnConfig.Model is not supported.")
    person, clothes = _urls(body.get("FileInfos", [])), _urls(config.get("ClothesFileInfos", []))
    if len(person) != 1:
        raise Refusal("InvalidParameterValue", "FileInfos must have exactly one picture of a person.")
    if not 1 <= len(clothes) <= _MOST_CLOTHES:
        raise Refusal("InvalidParameterValue", f"ClothesFileInfos must have 1 to {_MOST_CLOTHES} pictures.")
    _one_of(output, "Resolution", ("1K", "2K", "4K"))
    return str(config["Model"]), str(config.get("Prompt", "")), person + clothes


def _only(body: Mapping[str, Any], known: frozenset[str]) -> None:
    if strange := sorted(body.keys() - known):
        raise Refusal("UnknownParameter", f"The parameter `{strange[0]}` is not recognized.")


def _one_of(output: Mapping[str, Any], name: str, allowed: tuple[str, ...]) -> None:
    if name in output and output[name] not in allowed:
        raise Refusal("InvalidParameterValue", f"The parameter {name} must be one of {', '.join(allowed) or 'none'}.")


def _format(output: Mapping[str, Any]) -> Literal["jpeg", "png"]:
    _one_of(output, "OutputFormat", ("jpeg", "png"))
    return "jpeg" if output.get("OutputFormat") == "jpeg" else "png"


def _urls(files: list[Mapping[str, Any]]) -> tuple[str, ...]:
    for file in files:
        if file.get("Type") != "Url" or not str(file.get("Url", "")).startswith(("http://", "https://")):
            raise Refusal("InvalidParameterValue", "The stand-in takes files by URL alone.")
    return tuple(str(file["Url"]) for file in files)
