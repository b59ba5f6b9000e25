"""The commands `scf-workers cos …`. Each imports its heavy modules itself."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from console.cli.environment import EnvFile, enter_environment
from console.cli.terminal import say_json

__all__ = ["cos_app", "cos_setup"]

cos_app = typer.Typer(help="The two buckets on COS.", no_args_is_help=True)


@cos_app.callback()
def _group() -> None:
    """Keep `setup` a subcommand, though it is the only one."""


@cos_app.command("setup")
def cos_setup(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be changed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    env_file: EnvFile = None,
) -> None:
    """Set the buckets' lifecycle and CORS rules. Rules of others are kept; without a difference nothing is written.

    Exit status 0: all rules are as they should be; 1: they could not be set, or a dry run found a difference.
    """
    from console.cli.cos.display import setup_document, show_setup
    from console.cli.cos.work import set_up_buckets
    from runtime.settings import load_settings
    from telemetry import logs

    enter_environment(env_file)
    logs.setup(sys.stderr, load_settings(os.environ).log_level, "console.cos")
    reports = set_up_buckets(os.environ, acts=not dry_run)
    say_json(setup_document(reports, acts=not dry_run)) if as_json else show_setup(reports, acts=not dry_run)
    raise typer.Exit(1 if dry_run and any(report.changes for report in reports) else 0)
