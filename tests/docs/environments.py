"""The table of docs/how-to/deploy-on-scf.md that says which function has which variables."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from tests.docs.pages import text_of

__all__ = ["EVERYWHERE", "FUNCTIONS", "Variables"]

_PAGE: Final = text_of("docs/how-to/deploy-on-scf.md")


class Variables(NamedTuple):
    """Of one function."""

    needed: tuple[str, ...]
    besides: tuple[str, ...]


def _read() -> dict[str, Variables]:
    (table,) = re.findall(r"^\| function \| needs \| may have besides \|\n(.*?)\n\n", _PAGE, re.DOTALL | re.MULTILINE)
    found: dict[str, Variables] = {}
    for row in table.splitlines()[1:]:
        names, needed, besides = row.strip("|").split(" |")[:3]
        for name in re.findall(r"`([a-z_.]+)`", names) or ["all"]:
            found[name] = Variables(*(tuple(re.findall(r"`([A-Z0-9_]+)`", cell)) for cell in (needed, besides)))
    return found


FUNCTIONS: Final = _read()
"""Function -> its variables."""

EVERYWHERE: Final = FUNCTIONS.pop("all").besides
"""Variables that each function may have."""
