"""The commands `scf-workers dead …`. Each imports its heavy modules itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from console.cli.arguments import BadUsage, check_since
from console.cli.environment import EnvFile, enter_environment
from console.cli.terminal import say, say_json, warn

if TYPE_CHECKING:
    from tasks.dead_letters.selection import Selection

__all__ = ["dead_app", "dead_list", "dead_purge", "dead_replay", "dead_show"]

dead_app = typer.Typer(
    help="Dead letters: messages that were given up. List, show, replay and purge them.", no_args_is_help=True
)

_SINCE_HELP = "Only letters recorded since then: 30m, 12h, 7d, or a time such as 2026-01-31T08:00 (UTC)."
_IDS_HELP = "Ids, as `dead list` shows them; the last part is enough if it is unique."
_GOES_ON = "stopped by an error; the same command goes on from here"
_YES_HELP = "Do it. Without it, more than one letter is only a dry run."

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_Since = Annotated[str, typer.Option(help=_SINCE_HELP)]
_Kind = Annotated[str, typer.Option(help="Only letters of tasks of this kind.")]
_Code = Annotated[str, typer.Option(help="Only letters with this code.")]
_Fingerprint = Annotated[str, typer.Option(help="Only letters with this fingerprint.")]
_Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help=_IDS_HELP)]
_All = Annotated[bool, typer.Option("--all", help="Every letter that the other options leave.")]
_Yes = Annotated[bool, typer.Option("--yes", help=_YES_HELP)]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print what would be done, also for one letter.")]
_By = Annotated[str, typer.Option(help="Name of the operator, for the audit record (default: this user's name).")]
_Why = Annotated[str, typer.Option(help="Reason, for the audit record.")]


@dead_app.command("list")
def dead_list(
    group: Annotated[bool, typer.Option("--group", help="One row for each fingerprint, that is, each cause.")] = False,
    since: _Since = "",
    kind: _Kind = "",
    code: _Code = "",
    fingerprint: _Fingerprint = "",
    as_json: _Json = False,
    env_file: EnvFile = None,
) -> None:
    """List the dead letters, or their causes."""
    from console.cli.dead.display import group_document, letter_document, show_groups, show_letters
    from console.cli.dead.work import read_selection
    from tasks.dead_letters.groups import group_cases

    selection = _selection((), fingerprint, since, kind, code)
    enter_environment(env_file)
    cases = read_selection(selection)
    if group:
        groups = group_cases(cases)
        say_json({"groups": [group_document(one) for one in groups]}) if as_json else show_groups(groups)
    else:
        say_json({"letters": [letter_document(one) for one in cases]}) if as_json else show_letters(cases)


@dead_app.command("show")
def dead_show(
    letter: Annotated[str, typer.Argument(metavar="ID", help=_IDS_HELP)],
    as_json: _Json = False,
    env_file: EnvFile = None,
) -> None:
    """Show one dead letter: its error, its original, its run, its replays, and what a replay would do."""
    from console.cli.dead.display import show_whole, whole_document
    from console.cli.dead.work import read_selection

    selection = _selection((letter,), "", "", "", "")
    enter_environment(env_file)
    (case,) = read_selection(selection)
    say_json(whole_document(case)) if as_json else show_whole(case)


@dead_app.command("replay")
def dead_replay(  # noqa: PLR0913, PLR0917 - a command has as many parameters as options
    ids: _Ids = None,
    fingerprint: _Fingerprint = "",
    everything: _All = False,
    since: _Since = "",
    kind: _Kind = "",
    code: _Code = "",
    yes: _Yes = False,
    dry_run: _DryRun = False,
    rate: Annotated[float, typer.Option(min=0.0, help="Replays a second, at most (0 = no limit).")] = 10.0,
    most: Annotated[int, typer.Option(min=0, help="Replays in all, at most (0 = no limit).")] = 0,
    again: Annotated[
        bool, typer.Option("--again", help="Begin another run also where an earlier replay's run has failed.")
    ] = False,
    by: _By = "",
    why: _Why = "",
    as_json: _Json = False,
    env_file: EnvFile = None,
) -> None:
    """Replay dead letters: deliver a verdict, wake a run, or begin a new run once the backend has reopened the step.

    A stopped command continues where it stopped when it is run again.

    Exit status 1: the one letter that was named is not replayed.
    """
    from console.cli.dead.display import show_step, show_steps_end, steps_document
    from console.cli.dead.work import operator, replay_selection
    from tasks.dead_letters.replay import Request

    selection = _selection(_narrowed(ids, fingerprint, everything=everything), fingerprint, since, kind, code)
    acts = not dry_run and (yes or len(selection.ids) == 1)
    request = Request(by=operator(by), why=why, again=again, rate=rate, most=most)
    enter_environment(env_file)
    steps, error = replay_selection(
        selection, request, acts=acts, report=lambda step: None if as_json else show_step(step, acts=acts)
    )
    say_json(steps_document(steps, acts=acts)) if as_json else show_steps_end(steps, acts=acts)
    if error is not None:
        warn(_GOES_ON)
        raise error
    refused = acts and len(selection.ids) == 1 and not any(step.plan.acts for step in steps)
    raise typer.Exit(1 if refused else 0)


@dead_app.command("purge")
def dead_purge(  # noqa: PLR0913, PLR0917 - a command has as many parameters as options
    ids: _Ids = None,
    fingerprint: _Fingerprint = "",
    everything: _All = False,
    since: _Since = "",
    kind: _Kind = "",
    code: _Code = "",
    yes: _Yes = False,
    dry_run: _DryRun = False,
    by: _By = "",
    why: _Why = "",
    as_json: _Json = False,
    env_file: EnvFile = None,
) -> None:
    """Delete dead letters. Their runs stay as they are; a record of the purge stays too."""
    from console.cli.dead.display import purge_document, show_purges_end
    from console.cli.dead.work import operator, purge_selection

    selection = _selection(_narrowed(ids, fingerprint, everything=everything), fingerprint, since, kind, code)
    acts = not dry_run and (yes or len(selection.ids) == 1)
    name = operator(by)
    enter_environment(env_file)
    letters, error = purge_selection(
        selection, name, why, acts=acts, report=lambda letter: None if as_json else say(letter)
    )
    say_json(purge_document(letters, acts=acts)) if as_json else show_purges_end(letters, acts=acts)
    if error is not None:
        warn(_GOES_ON)
        raise error


def _narrowed(ids: list[str] | None, fingerprint: str, *, everything: bool) -> tuple[str, ...]:
    """Return the ids that were given.

    Raises:
        BadUsage: not exactly one of ids, fingerprint and `--all` was given.
    """
    if sum(map(bool, (ids, fingerprint, everything))) != 1:
        raise BadUsage("give ids of dead letters, or --fingerprint, or --all")
    return tuple(ids or ())


def _selection(ids: tuple[str, ...], fingerprint: str, since: str, kind: str, code: str) -> Selection:
    from tasks.dead_letters.selection import Selection

    return Selection(ids, fingerprint, check_since("--since", since), kind, code)
