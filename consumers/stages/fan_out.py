"""The messages that follow the cleaned inputs: the prompt if the recipe has one, then a paid call for each slot."""

from __future__ import annotations

from consumers.engine.outcomes import Many, Next, Outcome
from messages.bodies import Generate, Prompt, Stage
from tasks.run import Task

__all__ = ["after_clean", "fan_out"]


def after_clean(task: Task) -> Outcome:
    """Return the outcome of a clean whose products are recorded, for a kind with a prompt or a vendor."""
    return Next(Stage.PROMPT, Prompt()) if task.recipe.prompt else fan_out(task)


def fan_out(task: Task) -> Outcome:
    """Return one message of generate for each slot that was sold."""
    calls = tuple(Next(Stage.GENERATE, Generate(slot)) for slot in range(1, task.accepted.slots + 1))
    return calls[0] if len(calls) == 1 else Many(calls)
