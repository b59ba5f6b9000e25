"""Output of `submit` for a task without results."""

from __future__ import annotations

import pytest

from console.cli.ending import describe_ending
from messages.codes import Code, text_of
from tasks.ledger.records import Verdict


@pytest.mark.parametrize("code", Code)
def test_every_code_is_told_with_its_text_and_a_remedy(code: Code) -> None:
    ending, remedy = describe_ending("failed", Verdict("failed", code), "verdict delivered", 600)
    assert ending == f"failed: {code} ({text_of(code)})"
    assert remedy


def test_a_code_of_a_newer_build_is_told_as_it_is() -> None:
    ending, remedy = describe_ending("failed", Verdict("failed", "moon_phase"), "verdict delivered", 600)
    assert ending.startswith("failed: moon_phase (")
    assert "dead letter" in remedy


@pytest.mark.parametrize(
    ("status", "progress", "said", "remedy"),
    [
        ("pending", "uploaded", "pending: no verdict in 30 s, and the upload was not accepted", "ticket.rejected"),
        ("pending", "cleaned", "pending: no verdict in 30 s: cleaned", "`scf-workers work`"),
        ("failed", "uploaded", "failed at the backend, and the ledger has no verdict", "task.rejected"),
        (
            "cancelled",
            "cleaned",
            "cancelled at the backend, and the ledger has no verdict",
            "the backend ended it",
        ),
    ],
)
def test_without_a_verdict_it_says_what_is_known(status: str, progress: str, said: str, remedy: str) -> None:
    ending, advice = describe_ending(status, None, progress, 30)
    assert ending == said
    assert remedy in advice


def test_a_verdict_that_the_backend_has_not_heard_is_no_missing_one() -> None:
    ending, remedy = describe_ending("pending", Verdict("success"), "verdict written", 30)
    assert ending == "pending: the verdict is success"
    assert "callback.failed" in remedy
