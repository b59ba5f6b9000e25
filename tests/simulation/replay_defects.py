"""Defects of replays that are planted on purpose, one rule broken by each: the histories of replays must find them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from unittest.mock import patch

import msgspec

from consumers.engine.outcomes import Leave, Outcome
from consumers.stages import wake as wake_module
from tasks.dead_letters import replay as replay_module
from tasks.dead_letters.plan import Action, Plan, decide
from tasks.dead_letters.standing import Case
from tasks.ending import finish as finish_module
from tasks.ledger.records import ReopenDenied, Reopened, Reopening

__all__ = ["DEFECTS", "planted"]


class Defect(NamedTuple):
    """One defect."""

    says: str
    """The rule that it breaks."""
    plant: Callable[[], Any]
    """Function that patches it in."""


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """Plant a defect for a while; None plants nothing."""
    if name is None:
        yield
        return
    with DEFECTS[name].plant():
        yield


def _unasked() -> Any:
    async def ask(snapshot: Any, body: Any, services: Any) -> Outcome:
        run, ledger = snapshot.run, services.ledger
        if not await services.backend.reopen(run.task, run.step, run.run):
            await ledger.write(run, ReopenDenied.at(), ReopenDenied())
            return Leave()
        # An answer that is lost leaves no record.
        await ledger.write(run, Reopening.at(), Reopening())
        await ledger.write(run, Reopened.at(), Reopened())
        agreed = msgspec.structs.replace(snapshot, reopening=True, reopened=True)
        return await wake_module._do_all(wake_module._decide(agreed, services), agreed, body, services)

    return patch.object(wake_module, "_ask_reopen", ask)


def _run_of_each_operator() -> Any:
    def own(case: Case, *, again: bool = False) -> Plan:
        plan = decide(case, again=again)
        return Plan(Action.NEW_RUN, plan.run + 1) if plan.does is Action.RESUME else plan

    return patch.object(replay_module, "decide", own)


def _older_run_called_back() -> Any:
    async def never(*_: Any) -> bool:
        return False

    return patch.object(finish_module, "_is_superseded", never)


DEFECTS: Final[Mapping[str, Defect]] = MappingProxyType(
    {
        "unasked": Defect("`reopening` is created before the question", _unasked),
        "run_of_each_operator": Defect("two operators make one run", _run_of_each_operator),
        "older_run_called_back": Defect(
            "an older run is not called back once a later one is open", _older_run_called_back
        ),
    }
)
"""Every defect by its name."""
