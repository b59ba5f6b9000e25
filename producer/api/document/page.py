"""A plain page of the API, rendered from the OpenAPI document: no script, nothing from elsewhere. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any, Final

__all__ = ["page"]

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "h2{margin-top:2.5rem;font-size:1.1rem}code,pre{font:14px/1.4 ui-monospace,monospace}"
    "pre{background:#f5f5f5;padding:.8rem;overflow:auto}table{border-collapse:collapse}"
    "td,th{border:1px solid #ccc;padding:.2rem .6rem;text-align:left;vertical-align:top}"
)


def page(document: Mapping[str, Any]) -> str:
    """Return the page of a document."""
    info = document["info"]
    parts = [f"<h1>{escape(info['title'])}</h1><p>{escape(info['description'])}</p>"]
    parts.append('<p>The whole description: <a href="/openapi.json">openapi.json</a></p>')
    for path, operations in document["paths"].items():
        parts += [_operation(path, method, operation) for method, operation in operations.items()]
    title = escape(info["title"])
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>'


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    parts = [f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation['summary'])}</p>"]
    if text := operation.get("description"):
        parts.append(f"<p>{escape(text)}</p>")
    if rows := [(param["name"], param["description"]) for param in operation["parameters"]]:
        parts.append(_table(("parameter", "meaning"), rows))
    contents = operation.get("requestBody", {}).get("content", {}).values()
    examples = [content["example"] for content in contents if "example" in content]
    parts += [f"<pre>{escape(json.dumps(one, ensure_ascii=False, indent=2))}</pre>" for one in examples]
    rows = [(status, answer["description"]) for status, answer in operation["responses"].items()]
    parts.append(_table(("answer", "meaning"), rows))
    return "".join(parts)


def _table(head: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td>{escape(name)}</td><td>{escape(text)}</td></tr>" for name, text in rows)
    return f"<table><tr><th>{head[0]}</th><th>{head[1]}</th></tr>{cells}</table>"
