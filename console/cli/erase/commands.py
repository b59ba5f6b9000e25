"""The command `scf-workers erase`. It imports its heavy modules itself."""

from __future__ import annotations

from typing import Annotated

import typer

from console.cli.arguments import check_user
from console.cli.environment import EnvFile, enter_environment
from console.cli.terminal import say_json

__all__ = ["erase", "erase_app"]

erase_app = typer.Typer()
"""Command that is added to the top level."""


@erase_app.command()
def erase(  # noqa: PLR0913, PLR0917 - a command has as many parameters as options
    user: Annotated[str, typer.Argument(metavar="USER", help="User whose data is erased.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without it the command is only a dry run.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel the user's unfinished tasks first.")] = False,
    wait: Annotated[
        float, typer.Option(min=0.0, help="Seconds to wait for cancelled tasks, and for their workers.")
    ] = 60.0,
    by: Annotated[str, typer.Option(help="Operator, for the audit record (default: this user's name).")] = "",
    why: Annotated[str, typer.Option(help="Reason, for the audit record.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    env_file: EnvFile = None,
) -> None:
    """Erase a user's data: pictures, texts, lists. Records of tasks keep their ids, without content.

    A stopped command continues where it stopped when it is run again.

    Exit status 1: something is left, or tasks are unfinished.
    """
    from console.cli.dead.work import operator
    from console.cli.erase.display import erasure_document, show_erasure
    from console.cli.erase.work import erase as erase_data
    from console.cli.erase.work import survey

    check_user(user, "USER")
    enter_environment(env_file)
    if yes:
        found, left = erase_data(user, operator(by), why, cancels=cancel, wait_s=wait)
    else:
        found, left = survey(user), None
    say_json(erasure_document(found, left)) if as_json else show_erasure(found, left)
    raise typer.Exit(0 if left is None or left.empty else 1)
