"""The operator's questions after a run of sixty tasks with faults: each is answered by the command of the page."""

from __future__ import annotations

import pytest

from tests.e2e.night import ask_everything, cancel_some, disturb, sell
from tests.e2e.test_terminals import Terminals, sandbox, terminals, work

__all__ = ["terminals"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TASKS = 60


def test_each_question_is_answered_with_the_figures_of_the_quota_account(terminals: Terminals) -> None:
    with sandbox(terminals) as environ:
        disturb(environ)
        assert len(set(sell(environ, TASKS))) == TASKS
        cancel_some(terminals, environ)
        work(terminals)
        ask_everything(terminals, environ)
