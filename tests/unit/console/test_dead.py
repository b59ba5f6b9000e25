"""Arguments of `scf-workers dead`, and the requests that they make."""

from __future__ import annotations

import getpass
import time
from typing import Any

import pytest
from typer.testing import CliRunner

from console.cli.arguments import BadUsage, check_since
from console.cli.dead import work
from console.cli.dead.commands import dead_app
from console.cli.dead.work import operator
from messages.keys import RunId
from services.errors import ObjectsDown
from tasks.dead_letters.letters import Letter, LetterId
from tasks.dead_letters.plan import Action, Plan, Refusal
from tasks.dead_letters.replay import Step
from tasks.dead_letters.standing import Case, RunState, Standing
from transport.errors import BrokerDown

LETTER = LetterId("2026-01-31", "0123456789ab", "15-7")


def step(does: Action | Refusal) -> Step:
    case = Case(Letter(LETTER, 1.0, None), Standing(RunState(RunId("u1", "t1"))))
    return Step(case, Plan(does, 1))


class Replays:
    """Stand-in for the work of a replay; keeps its requests."""

    def __init__(self, *steps: Step, error: Exception | None = None) -> None:
        self.steps = list(steps)
        self.error = error
        self.asked: list[tuple[Any, ...]] = []

    def __call__(self, selection: Any, request: Any, *, acts: bool, report: Any) -> Any:
        self.asked.append((selection, request, acts))
        for one in self.steps:
            report(one)
        return self.steps, self.error


@pytest.fixture(autouse=True)
def _outside_of_every_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.cli.dead.commands.enter_environment", lambda _path: None)


def run(*argv: str) -> Any:
    return CliRunner().invoke(dead_app, argv)


@pytest.mark.parametrize(
    "argv",
    [
        ("replay",),
        ("replay", "15-7", "--all"),
        ("replay", "--all", "--fingerprint", "0123456789ab"),
        ("purge",),
        ("purge", "15-7", "--fingerprint", "0123456789ab", "--yes"),
        ("list", "--since", "soon"),
    ],
)
def test_what_is_not_clear_is_not_done(argv: tuple[str, ...]) -> None:
    done = run(*argv)
    assert isinstance(done.exception, BadUsage)
    assert "--" in str(done.exception)


@pytest.mark.parametrize(
    ("argv", "acts"),
    [
        (("15-7",), True),
        (("15-7", "--dry-run"), False),
        (("15-7", "15-8"), False),
        (("15-7", "15-8", "--yes"), True),
        (("--all",), False),
        (("--all", "--yes"), True),
        (("--all", "--yes", "--dry-run"), False),
        (("--fingerprint", "0123456789ab"), False),
    ],
)
def test_more_than_one_letter_is_a_dry_run_without_yes(
    monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...], *, acts: bool
) -> None:
    replays = Replays(step(Action.NEW_RUN))
    monkeypatch.setattr(work, "replay_selection", replays)
    done = run("replay", *argv, "--by", "amara", "--why", "mended", "--rate", "2", "--most", "5")
    assert done.exit_code == 0, done.output
    ((_, request, acted),) = replays.asked
    assert acted is acts
    assert (request.by, request.why, request.rate, request.most, request.again) == ("amara", "mended", 2.0, 5, False)
    assert ("dry run" in done.output) is not acts
    assert ("would: " in done.output) is not acts


def test_one_letter_that_is_refused_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "replay_selection", Replays(step(Refusal.SUCCEEDED)))
    done = run("replay", "15-7")
    assert done.exit_code == 1
    assert "refused: it has succeeded" in done.output
    assert run("replay", "--all", "--yes").exit_code == 0


def test_what_was_done_before_an_error_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    replays = Replays(step(Action.NEW_RUN), error=BrokerDown("no receipt"))
    monkeypatch.setattr(work, "replay_selection", replays)
    done = run("replay", "--all", "--yes", "--json")
    assert isinstance(done.exception, BrokerDown)
    assert '"new_run": 1' in done.stdout
    assert "goes on from here" in done.stderr


def test_what_was_purged_before_an_error_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def purge(*_: Any, acts: bool, report: Any) -> Any:
        assert acts
        report(LETTER.text)
        return [step(Refusal.SUCCEEDED).case], ObjectsDown("503")

    monkeypatch.setattr(work, "purge_selection", purge)
    done = run("purge", "--all", "--yes")
    assert isinstance(done.exception, ObjectsDown)
    assert done.stdout.splitlines() == [LETTER.text, "purged 1"]
    assert "goes on from here" in done.stderr
    assert f'"id": "{LETTER.text}"' in run("purge", "--all", "--yes", "--json").stdout


def test_a_long_reading_is_reported_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    moments = iter((0.0, 1.0, 5.0, 5.0, 6.0, 11.0, 11.0))
    report = work.progress(lambda: next(moments))
    for done in (100, 800, 900, 1500):
        report(done, 10_000)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["800 of 10000 dead letters read", "1500 of 10000 dead letters read"]


def test_a_time_is_an_age_or_a_time() -> None:
    assert check_since("--since", "") == 0.0
    assert check_since("--since", "2h") == pytest.approx(time.time() - 7200, abs=5)
    assert (
        check_since("--since", "2026-01-31T08:00") == check_since("--since", "2026-01-31T08:00+00:00") == 1769846400.0
    )
    assert check_since("--since", "2026-01-31") == 1769817600.0
    for text in ("7", "7w", "-1d", "yesterday"):
        with pytest.raises(BadUsage, match="--since"):
            check_since("--since", text)


def test_the_operator_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert operator(" amara ") == "amara"
    assert operator("") == getpass.getuser()

    def nobody() -> str:
        raise KeyError("no such user")

    monkeypatch.setattr(getpass, "getuser", nobody)
    with pytest.raises(BadUsage, match="--by"):
        operator("")
