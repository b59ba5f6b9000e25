"""A plain page of the API, rendered from the OpenAPI document: no script, nothing from elsewhere. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

__all__ = ["page"]

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "h2{margin-top:2.5rem;font-size:1.1rem}code,pre{font:14px/1.4 ui-monospace,monospace}"
    "pre{background:#f5f5f5;padding:.8rem;overflow:auto}table{border-collapse:collapse;margin:.8rem 0}"
    "td,th{border:1px solid #ccc;padding:.2rem .6rem;text-align:left;vertical-align:top}"
)


def page(document: Mapping[str, Any]) -> str:
    """Return the page of a document."""
    info = document["info"]
    parts = [f"<h1>{escape(info['title'])}</h1><p>{escape(info['description'])}</p>"]
    parts.append('<p>The whole description: <a href="/openapi.json">openapi.json</a></p>')
    schemas = document["components"]["schemas"]
    for path, operations in document["paths"].items():
        parts += [_operation(path, method, operation, schemas) for method, operation in operations.items()]
    title = escape(info["title"])
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>'


def _operation(path: str, method: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    parts = [f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation['summary'])}</p>"]
    if text := operation.get("description"):
        parts.append(f"<p>{escape(text)}</p>")
    if rows := [(param["name"], param["description"]) for param in operation["parameters"]]:
        parts.append(_table(("parameter", "meaning"), rows))
    contents = list(operation.get("requestBody", {}).get("content", {}).values())
    if rows := [row for content in contents for row in _fields(content["schema"], schemas)]:
        parts.append(_table(("field of the body", "meaning"), rows))
    examples = [content["example"] for content in contents if "example" in content]
    parts += [f"<pre>{escape(json.dumps(one, ensure_ascii=False, indent=2))}</pre>" for one in examples]
    rows = [(status, answer["description"]) for status, answer in operation["responses"].items()]
    parts.append(_table(("answer", "meaning"), rows))
    answers = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
    contents = [content for answer in answers for content in answer.get("content", {}).values()]
    if rows := [row for content in contents for row in _fields(content.get("schema", {}), schemas)]:
        parts.append(_table(("field of the answer", "meaning"), rows))
    return "".join(parts)


def _fields(schema: Mapping[str, Any], schemas: Mapping[str, Any], parents: str = "") -> Iterator[tuple[str, str]]:
    """Return a row for each property of a schema, and for those of its inner schemas: name, description."""
    for inner in (schema, *schema.get("anyOf", ())):
        if name := inner.get("$ref", "").rpartition("/")[2]:
            yield from _fields(schemas[name], schemas, parents)
    if "items" in schema:
        yield from _fields(schema["items"], schemas, f"{parents.removesuffix('.')}[]." if parents else "")
    for name, inner in schema.get("properties", {}).items():
        yield f"{parents}{name}", inner.get("description", "")
        yield from _fields(inner, schemas, f"{parents}{name}.")


def _table(head: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td>{escape(name)}</td><td>{escape(text)}</td></tr>" for name, text in rows)
    return f"<table><tr><th>{head[0]}</th><th>{head[1]}</th></tr>{cells}</table>"
