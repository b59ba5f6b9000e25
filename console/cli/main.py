"""The command line. Each command imports its heavy modules itself."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from console.cli.arguments import (
    SAMPLE_PHOTO,
    BadUsage,
    check_choice,
    check_folder,
    check_kind,
    check_photo,
    check_url,
    check_user,
    inputs_for_each,
    inputs_of_task,
    read_event,
    read_params,
)
from console.cli.cos.commands import cos_app
from console.cli.dead.commands import dead_app
from console.cli.demo.commands import demo
from console.cli.environment import ENV_FILE, EnvFile, enter_environment
from console.cli.erase.commands import erase_app
from console.cli.operate.commands import operate_app
from console.cli.options import DEFAULT_KIND, KINDS_HELP, Param, Params
from console.cli.terminal import fail, say, say_json, warn
from messages.errors import ScfWorkersError
from runtime.credentials import forbid_core_dumps
from runtime.errors import BadSettings
from runtime.settings import mask_secrets
from telemetry import logs

__all__ = [
    "api",
    "app",
    "broker_start",
    "broker_status",
    "broker_stop",
    "broker_topics",
    "cancel",
    "doctor",
    "event",
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
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

_FAILED = 1
_USAGE = 2


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer's signature
    if wanted:
        from importlib.metadata import version

        say(f"scf-workers {version('scf-workers')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command `scf-workers`."""
    # Logs of libraries and uncaught exceptions pass through redaction too.
    logs.setup(sys.stderr, "WARNING", "console")
    forbid_core_dumps()
    mask_secrets(os.environ)
    try:
        app()
    except BadUsage as error:
        fail(str(error), _USAGE)
    except BrokenPipeError:
        # The reader of the output has exited, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(_FAILED) from None
    except BadSettings as error:
        fail(f"{error}{_hint(str(error))}", _FAILED)
    except ScfWorkersError as error:
        fail(str(error), _FAILED)
    except Exception:  # noqa: BLE001 - printed with its traceback, redacted
        fail(traceback.format_exc(), _FAILED)


app.command()(demo)


@app.command()
def sandbox(
    data: Annotated[Path, typer.Option(help="Data directory.")] = Path(".sandbox/data"),
    env_file: Annotated[Path, typer.Option(help="File to write the environment to.")] = ENV_FILE,
    event_url: Annotated[str, typer.Option(help="URL to post COS events to, instead of running the handler.")] = "",
    duration: Annotated[float, typer.Option(min=0.0, help="Duration of a vendor's job, in seconds.")] = 2.0,
    broker: Annotated[
        str, typer.Option(help="sqlite, or pulsar: a real Pulsar, which needs Java (default: BROKER_URL, else sqlite).")
    ] = "",
    api: Annotated[bool, typer.Option(help="Serve the HTTP API too.")] = True,
) -> None:
    """Run the stand-ins and the HTTP API until Ctrl-C, and write the environment that points the product at them.

    The broker is a file of its own, unless --broker or BROKER_URL says otherwise.

    A second sandbox needs its own --data and --env-file.
    """
    from console.cli.sandbox import run_sandbox
    from sandbox.pulsar import BrokerFailed

    kind = check_choice("--broker", broker, ("sqlite", "pulsar")) if broker else ""
    try:
        run_sandbox(data, env_file, check_url("--event-url", event_url), duration, broker=kind, api=api)
    except BrokerFailed as error:
        fail(str(error), _FAILED)


@app.command()
def submit(  # noqa: PLR0913, PLR0917 - a command has as many parameters as options
    photos: Annotated[
        list[Path] | None,
        typer.Argument(help="Photos: all of them for one task, or a task for each where the kind takes one."),
    ] = None,
    kind: Annotated[str, typer.Option(help=KINDS_HELP)] = DEFAULT_KIND,
    params: Params = "{}",
    param: Param = None,
    user: Annotated[str, typer.Option(help="User who buys the tasks.")] = "u-1024",
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out"),
    wait: Annotated[
        float, typer.Option(min=0.0, metavar="S", help="Seconds to wait for the verdicts (0 = do not wait).")
    ] = 600.0,
    through: Annotated[str, typer.Option("--api", help="Base URL of the HTTP API (default: API_URL).")] = "",
    direct: Annotated[
        bool, typer.Option("--direct", help="Go without the API: buy from the backend, upload with the buckets' keys.")
    ] = False,
    priority: Annotated[
        str, typer.Option(help="high, normal or low, as the backend sells it; with --direct.")
    ] = "normal",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    env_file: EnvFile = None,
) -> None:
    """Act as a client: buy tasks, upload their photos, wait for the verdicts, download the results.

    Exit status 0: success, or not waited; 1: a task failed, was cancelled, met an error, or had no verdict in time.
    """
    from console.cli.submit.api import submit_to_api
    from console.cli.submit.direct import submit_photos
    from console.cli.submit.outcome import Submission, report

    enter_environment(env_file)
    check_user(user)
    known = check_kind(kind)
    inputs = inputs_for_each(photos or (), known)
    submission = Submission(
        kind=known,
        params=read_params(params, known, param or ()),
        user=user,
        out=check_folder("--out", out) if wait else out,
        wait_s=wait,
        priority=check_choice("--priority", priority, ("high", "normal", "low")),
        quiet=as_json,
    )
    if direct and through:
        raise BadUsage("--direct goes without the API: take either --direct or --api")
    if priority != "normal" and not direct:
        raise BadUsage("--priority needs --direct: through the API the backend decides")
    outcomes = (
        submit_photos(inputs, submission) if direct else submit_to_api(check_url("--api", through), inputs, submission)
    )
    report(outcomes, submission)
    raise typer.Exit(0 if all(one.is_well for one in outcomes) else _FAILED)


@app.command()
def work(
    topics: Annotated[list[str] | None, typer.Argument(help="Topics to consume (default: all).")] = None,
    concurrency: Annotated[
        int, typer.Option(min=0, help="Messages at once per group of topics (0 = WORK_CONCURRENCY).")
    ] = 0,
    env_file: EnvFile = None,
) -> None:
    """Run a worker until SIGTERM or Ctrl-C, then finish in-flight messages and exit."""
    from consumers.runners.worker import run_worker

    enter_environment(env_file)
    try:
        run_worker(topics or (), concurrency)
    except ValueError as error:
        fail(str(error), _USAGE)


@app.command()
def api(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8080,
    env_file: EnvFile = None,
) -> None:
    """Serve the HTTP API until SIGTERM or Ctrl-C. `/docs` describes it."""
    from producer.api.http.server import run_server

    enter_environment(env_file)
    say(f"http://{host}:{port}/docs")
    run_server(host, port)


@app.command()
def healthy(
    file: Annotated[Path | None, typer.Option(help="Health file of the worker (default: HEALTH_FILE).")] = None,
    oldest: Annotated[float, typer.Option(min=0.0, help="Greatest age of the file, in seconds.")] = 20.0,
) -> None:
    """Check that a worker takes messages, for a container's health check.

    Exit status 0: it does; 1: it does not, because it has ended, is blocked, or cannot reach its broker.
    """
    from consumers.runners.health import is_healthy

    path = file or Path(os.environ.get("HEALTH_FILE", ""))
    if not path.name:
        fail("name the worker's health file with --file, or set HEALTH_FILE", _USAGE)
    if path.is_dir():
        fail(f"{path} is a folder: name the worker's health file in it", _USAGE)
    if not is_healthy(path, oldest):
        fail(f"{path} was not touched within {oldest:g} s: the worker takes no messages", _FAILED)


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    env_file: EnvFile = None,
) -> None:
    """Check the deployment: every variable, every service it uses, and the rules that the ledger relies on.

    Exit status 0: all well; 1: something is wrong; each finding has a remedy.
    """
    import asyncio

    from console.cli.show import show_findings
    from console.doctor.doctor import examine, to_json

    enter_environment(env_file)
    findings = asyncio.run(examine(os.environ))
    if as_json:
        say_json(to_json(findings))
    else:
        show_findings(findings)
    raise typer.Exit(0 if all(finding.ok for finding in findings) else _FAILED)


@app.command()
def sweep(
    older_than: Annotated[
        float, typer.Option(min=0.0, help="Least age, in seconds, of the tasks and records to check.")
    ] = 600.0,
    cursor: Annotated[str, typer.Option(help="Cursor at which an earlier sweep stopped.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Name the stalled tasks, and wake none.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as one JSON object.")] = False,
    env_file: EnvFile = None,
) -> None:
    """Sweep once: wake every stalled unfinished task, for `scf-workers work` to continue.

    Exit status 1: a task could not be checked.
    """
    import msgspec

    from console.cli.sweep import sweep_by_hand

    enter_environment(env_file)
    swept = sweep_by_hand(older_than, cursor, dry_run=dry_run)
    if as_json:
        say_json(msgspec.to_builtins(swept))
    else:
        say(", ".join(f"{name} {value}" for name, value in msgspec.structs.asdict(swept).items() if value != ""))
    raise typer.Exit(_FAILED if swept.errors else 0)


@app.command()
def cancel(
    task: Annotated[str, typer.Argument(help="Id of the task.")],
    user: Annotated[str, typer.Option(help="User who bought the task.")],
    step: Annotated[int, typer.Option(min=0, help="Step of the pipeline.")] = 0,
    not_uploaded: Annotated[
        bool,
        typer.Option("--not-uploaded", help="Cancel it even if it is unknown, because its upload is still to come."),
    ] = False,
    env_file: EnvFile = None,
) -> None:
    """Cancel a task: write the verdict `cancelled` unless it has one, stop the vendor's job, notify the backend.

    Exit status 0: it is cancelled; 1: it has another verdict, or that user has no such task.
    """
    from console.cli.sweep import NoSuchTask, cancel_by_hand

    enter_environment(env_file)
    try:
        verdict = cancel_by_hand(user, task, step, not_uploaded=not_uploaded)
    except NoSuchTask as error:
        fail(str(error), _FAILED)
    say(f"task {task}: {verdict.status}" + (f" ({verdict.code})" if verdict.code else ""))
    raise typer.Exit(0 if verdict.status == "cancelled" else _FAILED)


@app.command()
def invoke(
    handler: Annotated[str, typer.Argument(help="Module with a main_handler, such as producer.cos_trigger.")],
    event: Annotated[str, typer.Option(help="File with the event as JSON; - for standard input.")],
    time_limit: Annotated[float, typer.Option(min=0.1, help="Time limit in seconds.")] = 60.0,
    env_file: EnvFile = None,
) -> None:
    """Call a handler as the platform does: in a fresh process, with a context and a time limit.

    Prints the result as JSON. Exit status 0: it returned; 1: it raised or crashed; 124: its time limit passed.
    """
    from console.processes.invoke import invoke as call

    enter_environment(env_file)
    done = call(handler, read_event(event), environ=os.environ, time_limit_s=time_limit)
    for what in done.left:
        warn(f"still running at return, killed: {what}")
    if done.ok:
        say_json(done.result)
        return
    hint = _hint(done.detail) if done.error == BadSettings.__name__ else ""
    fail(f"{done.detail or done.error}{hint}", 124 if done.error == "TimeLimit" else _FAILED)


@app.command()
def event(
    photo: Annotated[Path, typer.Option(help="Photo that was uploaded.", show_default="bundled sample")] = SAMPLE_PHOTO,
    task: Annotated[str, typer.Option(help="Id of the task (default: a new one).")] = "",
    user: Annotated[str, typer.Option(help="User who bought the task.")] = "u-1024",
    upload: Annotated[
        bool, typer.Option("--upload", help="Buy the task and upload the photo first, so that a handler finds it.")
    ] = False,
    kind: Annotated[str, typer.Option(help=f"With --upload. {KINDS_HELP}")] = DEFAULT_KIND,
    params: Params = "{}",
    env_file: EnvFile = None,
) -> None:
    """Print the COS event of an upload, as a sample for `scf-workers invoke producer.cos_trigger --event -`."""
    from console.cli.event import event_of, upload_photo

    enter_environment(env_file)
    check_user(user)
    check_photo(photo)
    if upload:
        known = check_kind(kind)
        inputs_of_task([photo], known)
        task = upload_photo(photo, user, known, read_params(params, known))
    elif task:
        check_user(task, "--task")
    say_json(event_of(photo, user, task, os.environ))


@app.command()
def trace(
    wanted: Annotated[
        str, typer.Argument(metavar="[TASK_OR_TRACE_ID]", help="Id of a task or a trace (default: the last task).")
    ] = "",
    file: Annotated[
        Path | None, typer.Option(help="Trace file (default: TRACE_FILE, else the last one of a sandbox or a demo).")
    ] = None,
    env_file: EnvFile = None,
) -> None:
    """Show the spans of a task, from the upload to the callback.

    Exit status 0: found; 1: the file has no span of it.
    """
    from console.cli.trace import find_traces, last_task, newest_trace_file, read_spans, show_trace

    enter_environment(env_file)
    set_to = os.environ.get("TRACE_FILE")
    path = file or (Path(set_to) if set_to else newest_trace_file())
    if path is None:
        fail("no demo or sandbox has left a trace here: name its file with --file, or set TRACE_FILE", _USAGE)
    rows = read_spans(path)
    wanted = wanted or last_task(rows)
    found = find_traces(rows, wanted)
    for one in found:
        show_trace(one)
    if not found:
        fail(f"{path} has no span of {wanted or 'any task'}", _FAILED)


app.add_typer(operate_app)
app.add_typer(erase_app)
app.add_typer(dead_app, name="dead")
app.add_typer(cos_app, name="cos")

_broker_app = typer.Typer(help="A local Pulsar broker, for development and tests. Needs Java.", no_args_is_help=True)
app.add_typer(_broker_app, name="broker")

_BrokerFolder = Annotated[Path, typer.Option("--folder", help="Data directory.")]


@_broker_app.command("start")
def broker_start(folder: _BrokerFolder = Path(".sandbox/pulsar")) -> None:
    """Start the broker, and print the variables that point the product at it. Earlier messages are kept."""
    from console.cli.broker import start_broker
    from sandbox.pulsar import BrokerFailed

    warn("starting Pulsar; the first start downloads 250 MB")
    try:
        _print_variables(start_broker(folder))
    except BrokerFailed as error:
        fail(str(error), _FAILED)


@_broker_app.command("stop")
def broker_stop(folder: _BrokerFolder = Path(".sandbox/pulsar")) -> None:
    """Stop the broker. Exit status 1: none ran."""
    from console.cli.broker import stop_broker

    if not stop_broker(folder):
        fail("no broker runs there", _FAILED)


@_broker_app.command("status")
def broker_status(folder: _BrokerFolder = Path(".sandbox/pulsar")) -> None:
    """Print the state of the broker. Exit status 1: none runs."""
    from console.cli.broker import describe_broker

    described = describe_broker(folder)
    if not described:
        fail("no broker runs there", _FAILED)
    _print_variables(described)


@_broker_app.command("topics")
def broker_topics() -> None:
    """Print every topic with its subscription, to create them on a broker beforehand. Needs no broker."""
    from console.cli.broker import required_subscriptions

    for topic, subscription in required_subscriptions():
        say(f"{topic} {subscription}")


def _print_variables(variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        say(f"{name}={value}")


def _hint(text: str) -> str:
    """Return a hint about environments for a person who has set none."""
    if os.environ.get("BROKER_URL") or not text.startswith("set "):
        return ""
    return "; on this machine start `scf-workers sandbox`, or name the file of a deployment with --env-file"
