"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from recipes.table import RECIPES

__all__ = ["DEFAULT_KIND", "KINDS_HELP", "Param", "Params"]

DEFAULT_KIND: Final = "model_pose12"
"""Kind of a command that names none."""

KINDS_HELP: Final = f"One of {', '.join(sorted(RECIPES))}."

Params = Annotated[str, typer.Option(help="Parameters of the kind, as a JSON object.")]
"""Option `--params`."""
Param = Annotated[
    list[str] | None,
    typer.Option(help="One parameter as NAME=VALUE, such as options.n=2; VALUE is JSON if it can be read as that."),
]
"""Option `--param`, which may be given several times."""
