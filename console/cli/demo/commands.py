"""The command `scf-workers demo`. It imports its heavy modules itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from console.cli.arguments import check_choice, check_folder, check_kind, check_vendor, inputs_for_tasks, read_params
from console.cli.options import DEFAULT_KIND, KINDS_HELP, Param, Params
from console.cli.terminal import fail, say, say_json, warn
from recipes.table import RECIPES

if TYPE_CHECKING:
    from console.cli.demo.run import DemoOptions, DemoReport

__all__ = ["demo"]

_FAILED: Final = 1
_INTERRUPTED: Final = 130
"""Exit status after Ctrl-C, as a shell reports it."""


def demo(  # noqa: PLR0913, PLR0917 - a command has as many parameters as options
    photos: Annotated[list[Path] | None, typer.Argument(help="Photos to submit (default: bundled sample).")] = None,
    kind: Annotated[
        str, typer.Option(help=f"{KINDS_HELP} Default: {DEFAULT_KIND}, or what shows the injected fault.")
    ] = "",
    tasks: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Number of tasks. 0: one, or one per photo for a kind that takes one at a time."
        ),
    ] = 0,
    params: Params = "{}",
    param: Param = None,
    vendor: Annotated[str, typer.Option(help="Vendor of a kind that several do, such as ark for fitting.")] = "",
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out"),
    broker: Annotated[str, typer.Option(help="sqlite, or pulsar: a real Pulsar, which needs Java.")] = "sqlite",
    inject: Annotated[list[str] | None, typer.Option(help="Fault to inject; `help` lists the names.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Run the full pipeline locally: stand-ins, workers, uploads, results.

    Exit status 0: every task got exactly one delivered verdict, and the quota account balances.
    """
    import msgspec

    from console.cli.demo.injections import HELP, describe_injections, read_injections
    from console.cli.demo.report import show_report
    from console.cli.demo.run import DemoOptions, is_right_end

    if HELP in (inject or ()):
        say(describe_injections())
        return
    injected = read_injections(inject or ())
    shown = next((one.injection for one in injected if one.injection.kind and kind in {"", one.injection.kind}), None)
    known = check_kind(kind or (shown.kind if shown else DEFAULT_KIND))
    base = {**RECIPES[known].example, **(shown.params if shown else {})}
    options = DemoOptions(
        inputs=inputs_for_tasks(photos or (), tasks, known),
        kind=known,
        vendor=check_vendor(vendor, known),
        params=read_params(params, known, param or (), base),
        limit_s=120 + 10 * tasks + sum(one.injection.more_s for one in injected),
        broker=check_choice("--broker", broker, ("sqlite", "pulsar")),
        out=check_folder("--out", out),
        injected=injected,
    )
    report = _run(options)
    show_report(report, options)
    if as_json:
        say_json(msgspec.to_builtins(report))
    raise typer.Exit(0 if is_right_end(report) else _FAILED)


def _run(options: DemoOptions) -> DemoReport:
    """Run the demo. If it cannot be ended, leave with its reason and the end of its log."""
    from console.cli.demo.report import end_of_log
    from console.cli.demo.run import WorkerDied, run_demo
    from console.cli.show import show_progress
    from sandbox.pulsar import BrokerFailed

    try:
        with show_progress(len(options.inputs)) as progress:
            return run_demo(options, progress)
    except BrokerFailed as error:
        fail(str(error), _FAILED)
    except WorkerDied as error:
        warn(end_of_log(options.log))
        fail(str(error), _FAILED)
    except TimeoutError:
        warn(end_of_log(options.log))
        fail(f"some tasks had no verdict after {options.limit_s:g} s", _FAILED)
    except KeyboardInterrupt:
        fail(f"interrupted; the workers and the stand-ins have stopped, and their log is {options.log}", _INTERRUPTED)
