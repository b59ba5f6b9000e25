"""The command line. Heavy parts are imported by the command that needs them."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from console.cli.arguments import (
    BadUsage,
    check_choice,
    check_folder,
    check_kind,
    check_photo,
    check_url,
    check_user,
    photos_in_turn,
    read_event,
    read_params,
)
from console.cli.environment import ENV_FILE, use_environment
from console.cli.terminal import say, say_json, warn
from messages.errors import ScfWorkersError
from recipes.table import RECIPES
from runtime.credentials import forbid_core_dumps
from runtime.errors import BadSettings
from runtime.settings import mask_secrets
from telemetry import logs
from telemetry.redaction import redact_text

__all__ = [
    "EnvFile",
    "app",
    "broker_start",
    "broker_status",
    "broker_stop",
    "broker_topics",
    "cancel",
    "demo",
    "doctor",
    "healthy",
    "invoke",
    "main",
    "sandbox",
    "submit",
    "sweep",
    "trace",
    "work",
]

app = typer.Typer(
    name="scf-workers",
    help="Workers between an upload on Tencent COS, a slow AI vendor and one signed verdict.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_FAILED = 1
_USAGE = 2

_KINDS_HELP = f"One of {', '.join(sorted(RECIPES))}."

EnvFile = Annotated[
    Path | None,
    typer.Option("--env-file", help=f"Read variables from this file; default: {ENV_FILE} if BROKER_URL is not set."),
]


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer's signature
    if wanted:
        from importlib.metadata import version

        say(f"scf-workers {version('scf-workers')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry of the command `scf-workers`."""
    # What libraries say, and what nobody caught, passes the filter as everything else does.
    logs.setup(sys.stderr, "WARNING", "console")
    forbid_core_dumps()
    mask_secrets(os.environ)
    try:
        app()
    except BadUsage as error:
        _fail(str(error), _USAGE)
    except BrokenPipeError:
        # The reader of our output has left, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(_FAILED) from None
    except BadSettings as error:
        _fail(f"BadSettings: {error}{_hint(str(error))}", _FAILED)
    except ScfWorkersError as error:
        _fail(f"{type(error).__name__}: {error}", _FAILED)
    except Exception:  # noqa: BLE001 - told whole, but without what is secret in it
        _fail(traceback.format_exc(), _FAILED)


@app.command()
def demo(
    photos: Annotated[list[Path] | None, typer.Argument(help="Photos; default: the one that comes along.")] = None,
    kind: Annotated[str, typer.Option(help=_KINDS_HELP)] = "model_pose12",
    tasks: Annotated[int, typer.Option(min=0, help="Tasks over the photos in turn; 0: one a photo.")] = 0,
    params: Annotated[str, typer.Option(help="Parameters of the kind, as a JSON object.")] = "{}",
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out"),
    broker: Annotated[str, typer.Option(help="sqlite, or pulsar: a real one, for which Java is needed.")] = "sqlite",
    as_json: Annotated[bool, typer.Option("--json", help="The last line of output is one JSON object.")] = False,
) -> None:
    """Show the whole way on this machine: stand-ins, workers, uploads, results.

    Exit status 0: every task got exactly one delivered verdict, and the quota book balances.
    """
    import msgspec

    from console.cli.demo import DemoOptions, WorkerDied, is_right_end, run_demo
    from console.cli.show import show_progress, show_report
    from sandbox.pulsar import BrokerFailed

    options = DemoOptions(
        photos=photos_in_turn(photos or (), tasks),
        kind=check_kind(kind),
        params=read_params(params, kind),
        limit_s=120 + 10 * tasks,
        broker=check_choice("--broker", broker, ("sqlite", "pulsar")),
        out=check_folder("--out", out),
    )
    try:
        report = run_demo(options, lambda: show_progress(len(options.photos)))
    except (WorkerDied, BrokerFailed) as error:
        _fail(str(error), _FAILED)
    except TimeoutError:
        _fail(f"some tasks had no verdict after {options.limit_s:g} s", _FAILED)
    show_report(report, out)
    if as_json:
        say_json(msgspec.to_builtins(report))
    raise typer.Exit(0 if is_right_end(report) else _FAILED)


@app.command()
def sandbox(
    data: Annotated[Path, typer.Option(help="Folder for what the stand-ins keep.")] = Path(".sandbox/data"),
    env_file: Annotated[Path, typer.Option(help="Where to write the environment.")] = ENV_FILE,
    event_url: Annotated[str, typer.Option(help="Post COS events here instead of running the handler.")] = "",
    duration: Annotated[float, typer.Option(min=0.0, help="Seconds a vendor's job takes.")] = 2.0,
) -> None:
    """Run the stand-ins until Ctrl-C, and write the environment that points the product at them.

    Messages travel by a file of its own, unless BROKER_URL names another broker. A second one needs places of its own.
    """
    from console.cli.sandbox import run_sandbox

    run_sandbox(data, env_file, check_url("--event-url", event_url), duration)


@app.command()
def submit(
    photo: Annotated[Path, typer.Argument(help="The photo.")],
    kind: Annotated[str, typer.Option(help=_KINDS_HELP)] = "model_pose12",
    params: Annotated[str, typer.Option(help="Parameters of the kind, as a JSON object.")] = "{}",
    user: Annotated[str, typer.Option(help="User who buys the task.")] = "u-1024",
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out"),
    wait: Annotated[float, typer.Option(min=0.0, help="Seconds to wait for the verdict; 0: do not wait.")] = 600.0,
    env_file: EnvFile = None,
) -> None:
    """Do what a client does: buy a task, upload the photo with its ticket, wait for the verdict.

    Exit status 0: success, or not waited; 1: failed, cancelled, or no verdict in time.
    """
    from console.cli.submit import submit_photo

    _use(env_file)
    check_photo(photo)
    check_user(user)
    known, values = check_kind(kind), read_params(params, kind)
    if wait:
        check_folder("--out", out)
    ok = submit_photo(photo, known, values, user=user, out=out, wait_s=wait)
    raise typer.Exit(0 if ok else _FAILED)


@app.command()
def work(
    topics: Annotated[list[str] | None, typer.Argument(help="Topics to take; default: all.")] = None,
    concurrency: Annotated[int, typer.Option(min=0, help="Messages of a group of topics at once; 0: setting.")] = 0,
    env_file: EnvFile = None,
) -> None:
    """Run a pump until SIGTERM or Ctrl-C: it takes no more, finishes what it has begun, and leaves."""
    from consumers.runners.worker import run_worker

    _use(env_file)
    try:
        run_worker(topics or (), concurrency)
    except ValueError as error:
        _fail(str(error), _USAGE)


@app.command()
def healthy(
    file: Annotated[Path | None, typer.Option(help="The pump's file; default: the setting HEALTH_FILE.")] = None,
    oldest: Annotated[float, typer.Option(min=0.0, help="Seconds since it was last touched, at most.")] = 20.0,
) -> None:
    """Tell whether a pump takes work, for a container's health check.

    Exit status 0: it does; 1: it does not, because it is gone, blocked, or its broker is away.
    """
    from consumers.runners.health import is_healthy

    path = file or Path(os.environ.get("HEALTH_FILE", ""))
    if not path.name:
        _fail("name the pump's file with --file, or set HEALTH_FILE", _USAGE)
    if path.is_dir():
        _fail(f"{path} is a folder: name the pump's file in it", _USAGE)
    if not is_healthy(path, oldest):
        _fail(f"{path} was not touched within {oldest:g} s: the pump takes no work", _FAILED)


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    env_file: EnvFile = None,
) -> None:
    """Examine the deployment: every variable, everything outside, and the rules the ledger rests on.

    Exit status 0: all well; 1: something is wrong, and is named with its remedy.
    """
    import asyncio

    from console.cli.show import show_findings
    from console.doctor.doctor import examine, to_json

    _use(env_file)
    findings = asyncio.run(examine(os.environ))
    if as_json:
        say_json(to_json(findings))
    else:
        show_findings(findings)
    raise typer.Exit(0 if all(finding.ok for finding in findings) else _FAILED)


@app.command()
def sweep(
    older_than: Annotated[
        float, typer.Option(min=0.0, help="Seconds: younger tasks, and tasks that moved since, are left alone.")
    ] = 600.0,
    cursor: Annotated[str, typer.Option(help="Go on where an earlier sweep stopped.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as one JSON object.")] = False,
    env_file: EnvFile = None,
) -> None:
    """Sweep once by hand: wake every unfinished task that has come to a stop. `scf-workers work` then looks at them.

    Exit status 1: a task could not be looked at.
    """
    import msgspec

    from console.cli.sweep import sweep_by_hand

    _use(env_file)
    swept = sweep_by_hand(older_than, cursor)
    if as_json:
        say_json(msgspec.to_builtins(swept))
    else:
        say(", ".join(f"{name} {value}" for name, value in msgspec.structs.asdict(swept).items() if value != ""))
    raise typer.Exit(_FAILED if swept.errors else 0)


@app.command()
def cancel(
    task: Annotated[str, typer.Argument(help="Id of the task.")],
    user: Annotated[str, typer.Option(help="The user whose task it is.")],
    step: Annotated[int, typer.Option(min=0, help="Step of a pipeline.")] = 0,
    not_uploaded: Annotated[
        bool, typer.Option("--not-uploaded", help="Cancel it although nothing is known of it: its upload is to come.")
    ] = False,
    env_file: EnvFile = None,
) -> None:
    """Cancel a task: verdict `cancelled` unless it has another, the vendor's job stopped, the backend told.

    Exit status 0: it is cancelled; 1: another verdict stands, or that user has no such task.
    """
    from console.cli.sweep import NoSuchTask, cancel_by_hand

    _use(env_file)
    try:
        verdict = cancel_by_hand(user, task, step, not_uploaded=not_uploaded)
    except NoSuchTask as error:
        _fail(str(error), _FAILED)
    say(f"task {task}: {verdict.status}" + (f" ({verdict.code})" if verdict.code else ""))
    raise typer.Exit(0 if verdict.status == "cancelled" else _FAILED)


@app.command()
def invoke(
    handler: Annotated[str, typer.Argument(help="Module with a main_handler, such as producer.cos_trigger.")],
    event: Annotated[str, typer.Option(help="File with the event as JSON, or - for standard input.")],
    time_limit: Annotated[float, typer.Option(min=0.1, help="Seconds.")] = 60.0,
    env_file: EnvFile = None,
) -> None:
    """Call a handler as the platform would: a fresh process, its context, its time limit.

    Prints the result as JSON. Exit status 0: it returned; 1: it raised or died; 124: its time was up.
    """
    from console.processes.invoke import invoke as call

    _use(env_file)
    done = call(handler, read_event(event), environ=os.environ, time_limit_s=time_limit)
    for what in done.left:
        warn(f"still running at return, killed: {what}")
    if done.ok:
        say_json(done.result)
        return
    hint = _hint(done.detail) if done.error == BadSettings.__name__ else ""
    _fail(f"{done.error}: {done.detail}{hint}", 124 if done.error == "TimeLimit" else _FAILED)


@app.command()
def trace(
    wanted: Annotated[
        str, typer.Argument(metavar="[TASK_OR_TRACE_ID]", help="Id of a task, or of a trace; default: the last task.")
    ] = "",
    file: Annotated[Path | None, typer.Option(help="Trace file; default: the setting TRACE_FILE.")] = None,
    env_file: EnvFile = None,
) -> None:
    """Show what happened to a task, from the upload to the callback, as its spans tell it.

    Exit status 0: found; 1: the file tells nothing of it.
    """
    from console.cli.trace import find_traces, last_task, read_spans, show_trace

    _use(env_file)
    path = file or Path(os.environ.get("TRACE_FILE", ""))
    if not path.name:
        _fail("name the trace file with --file, or set TRACE_FILE", _USAGE)
    rows = read_spans(path)
    wanted = wanted or last_task(rows)
    found = find_traces(rows, wanted)
    for one in found:
        show_trace(one)
    if not found:
        _fail(f"{path} tells nothing of {wanted or 'any task'}", _FAILED)


_broker_app = typer.Typer(
    help="A Pulsar broker on this machine, for work and tests. Java is needed.", no_args_is_help=True
)
app.add_typer(_broker_app, name="broker")

_BrokerFolder = Annotated[Path, typer.Option("--folder", help="Where it keeps what it has.")]


@_broker_app.command("start")
def broker_start(folder: _BrokerFolder = Path(".sandbox/pulsar")) -> None:
    """Start it, and print the variables that point the product at it. What an earlier one was sent is still there."""
    from console.cli.broker import start_broker
    from sandbox.pulsar import BrokerFailed

    warn("starting Pulsar; the first time, 250 MB are fetched")
    try:
        _print_variables(start_broker(folder))
    except BrokerFailed as error:
        _fail(str(error), _FAILED)


@_broker_app.command("stop")
def broker_stop(folder: _BrokerFolder = Path(".sandbox/pulsar")) -> None:
    """Stop it. Exit status 1: none ran."""
    from console.cli.broker import stop_broker

    if not stop_broker(folder):
        _fail("no broker runs there", _FAILED)


@_broker_app.command("status")
def broker_status(folder: _BrokerFolder = Path(".sandbox/pulsar")) -> None:
    """Print how it is. Exit status 1: none runs."""
    from console.cli.broker import describe_broker

    described = describe_broker(folder)
    if not described:
        _fail("no broker runs there", _FAILED)
    _print_variables(described)


@_broker_app.command("topics")
def broker_topics() -> None:
    """Print every topic with its subscription, for a broker on which both are made beforehand. Needs no broker."""
    from console.cli.broker import homes

    for topic, subscription in homes():
        say(f"{topic} {subscription}")


def _print_variables(variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        say(f"{name}={value}")


def _hint(text: str) -> str:
    """Where settings come from, for whoever has none."""
    if os.environ.get("BROKER_URL") or not text.startswith("set "):
        return ""
    return "; on this machine start `scf-workers sandbox`, or name the file of a deployment with --env-file"


def _use(path: Path | None) -> None:
    used = use_environment(path)
    mask_secrets(os.environ)
    if used is not None:
        warn(f"using the environment in {used}")


def _fail(text: str, status: int) -> NoReturn:
    warn(redact_text(f"scf-workers: {text}"))
    raise SystemExit(status)
