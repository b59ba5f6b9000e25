"""The OpenAPI 3.1 document, from the table of operations and the types that travel. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec

from producer.api.document.fields import describe_fields
from producer.api.http.problems import MEDIA_TYPE
from producer.api.modes import MODES, Mode
from producer.api.routes import Operation, Param
from producer.api.wire import MAX_INPUT_CHARS, CreateTask, CreateUpload, Problem, ProgressEvent
from recipes.recipe import Recipe

__all__ = ["document"]

_REF: Final = "#/components/schemas/{name}"

_OF_ACCESS: Final[Mapping[str, tuple[int, ...]]] = {
    "user": (400, 401, 429, 500, 503),
    "backend": (400, 401, 500, 503),
    "open": (400, 500, 503),
}
"""Proof that an operation needs -> statuses of problems that it may always answer."""

_OF_BODY: Final = (408, 415, 422)
_MEANINGS: Final[Mapping[int, str]] = {
    304: "Not changed.",
    400: "The request is malformed.",
    401: "No token, or one that is not good.",
    402: "No quota is left.",
    403: "This token may not see it.",
    404: "There is no such task, or it is another user's.",
    408: "The body came too slowly.",
    409: "The state does not allow it.",
    413: "The body is too long.",
    415: "The body is no JSON.",
    422: "A field or parameter cannot be used; `field` names it.",
    429: "Too many requests; see `Retry-After`.",
    500: "A defect; name the request id.",
    501: "Not possible here.",
    503: "A service is away; see `Retry-After`.",
}
_HEADERS: Final[Mapping[str, str]] = {
    "ETag": "Version of the state, for `If-None-Match`.",
    "Location": "Path of the state of the task.",
    "Retry-After": "Seconds after which to ask again; a state that is final has none.",
    "WWW-Authenticate": "`Bearer`.",
    "X-Request-Id": "Id of the request in the logs: yours, if you sent one.",
}
_OF_PROBLEM: Final[Mapping[int, str]] = {304: "ETag", 401: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After"}
"""Status of a problem -> the header that it has."""

_EXAMPLES: Final[Mapping[type, Any]] = {
    CreateTask: {"kind": "basic_clean", "params": {"format": "webp"}, "inputs": ["https://example.com/photo.jpg"]},
    CreateUpload: {"kind": "basic_clean", "params": {}, "extensions": ["jpg"]},
}

_INPUTS: Final = "Inputs in order: https URLs, or keys of your own objects (`input/…`, `output/…`)."
_INPUT: Final = "An https URL, or the key of your own object (`input/…`, `output/…`)."


def document(operations: Sequence[Operation], recipes: Mapping[str, Recipe]) -> dict[str, Any]:
    """Return the document.

    Args:
        operations: the table of operations.
        recipes: kinds that are sold; their parameters are described too.
    """
    modes = {mode.name: mode for mode in MODES}
    schemas = _schemas(operations, recipes.values())
    paths: dict[str, Any] = {}
    for operation in operations:
        mode = modes.get(operation.mode)
        body = _body_of_mode(mode, recipes, schemas) if mode else _body(operation)
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, body)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "scf-workers",
            "version": "1",
            "description": "Creates, watches, cancels, lists and counts AI picture tasks.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "user": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "backend": {"type": "apiKey", "in": "header", "name": "X-Internal-Signature-V2"},
            },
        },
    }


def _schemas(operations: Sequence[Operation], recipes: Iterable[Recipe]) -> dict[str, Any]:
    used = {kind for operation in operations for kind in (operation.request, operation.answer) if kind}
    params = {recipe.params for recipe in recipes}
    # Sorted, so that the document is the same in every process.
    types: list[type] = sorted({Problem, ProgressEvent, *used, *params}, key=_name)
    _, components = msgspec.json.schema_components(types, ref_template=_REF)
    return describe_fields(components, types)


def _name(kind: type) -> str:
    return kind.__name__


def _operation(operation: Operation, body: Mapping[str, Any] | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [_param(param) for param in operation.params],
        "responses": _responses(operation),
    }
    if operation.text:
        found["description"] = operation.text
    if body:
        found["requestBody"] = {"required": True, "content": {"application/json": dict(body)}}
    if operation.access != "open":
        found["security"] = [{operation.access: []}]
    return found


def _responses(operation: Operation) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": HTTPStatus(operation.status).phrase,
        "headers": _headers(*operation.headers),
    }
    if operation.answer is not None:
        answer["content"] = {operation.media: {"schema": _ref(operation.answer)}}
    elif operation.media == "text/event-stream":
        answer["content"] = {operation.media: {"schema": {"type": "string"}}}
    statuses = {*_OF_ACCESS[operation.access], *operation.problems}
    if operation.method == "POST":
        statuses |= set(_OF_BODY)
    problems = {str(status): _problem(status) for status in sorted(statuses)}
    if operation.name == "health-scf":
        problems["503"] = {**answer, "description": "A part is away."}
    return {str(operation.status): answer, **problems}


def _problem(status: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "description": _MEANINGS[status],
        "headers": _headers(*filter(None, [_OF_PROBLEM.get(status)])),
    }
    if status != HTTPStatus.NOT_MODIFIED:
        found["content"] = {MEDIA_TYPE: {"schema": _ref(Problem)}}
    return found


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in (*names, "X-Request-Id")}


def _param(param: Param) -> dict[str, Any]:
    found = {
        "name": param.name,
        "in": param.where,
        "required": param.where == "path",
        "description": param.text,
        "schema": param.schema,
    }
    return found if param.example is None else {**found, "example": param.example}


def _body(operation: Operation) -> dict[str, Any] | None:
    if operation.request is None:
        return None
    found: dict[str, Any] = {"schema": _ref(operation.request)}
    if operation.request in _EXAMPLES:
        found["example"] = _EXAMPLES[operation.request]
    return found


def _body_of_mode(mode: Mode, recipes: Mapping[str, Recipe], schemas: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a mode: the parameters of its kind, and its inputs beside them."""
    recipe = recipes.get(mode.kind)
    schema: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
    if recipe is not None:
        schema = {**schema, **schemas[recipe.params.__name__]}
    schema.pop("title", None)
    if mode.field:
        one: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": MAX_INPUT_CHARS, "description": _INPUT}
        many: dict[str, Any] = {"type": "array", "items": one, "description": _INPUTS}
        if recipe is not None:
            many |= {"minItems": recipe.least_inputs, "maxItems": recipe.most_inputs}
        schema["properties"] = {mode.field: many if mode.many else one, **schema.get("properties", {})}
        schema["required"] = [mode.field, *schema.get("required", [])]
    return {"schema": schema, "example": mode.example}


def _ref(kind: type) -> dict[str, str]:
    return {"$ref": _REF.format(name=kind.__name__)}
