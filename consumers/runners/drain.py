"""The drain: a function that a timer calls, and that takes messages until none is left or its time ends.

Between calls the platform freezes the instance, so no consumer is open then and no message is held; the connection to
the broker stays. Any number of instances may drain the same topics at the same time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal

import msgspec

from consumers.engine.pauses import Pauses
from consumers.runners.backlog import watch_vendors
from consumers.runners.dispatcher import DeliveryOutcome, Dispatcher
from consumers.runners.errors import Unsettled
from consumers.runners.pump import Pump, groups_of
from consumers.runners.status import StatusReport
from consumers.runners.time_budget import TimeBudget, budget_of, check_reserve
from consumers.runners.worker import build_dispatcher, keys_of, permits_of, reserve_of
from runtime.errors import BadSettings
from runtime.scf import Instance, instance, parse_request, time_limit_s
from runtime.settings import Settings
from runtime.wiring import open_services
from tasks.context import Services
from tasks.ledger.status import LIMIT_S, process_name
from telemetry import logs
from telemetry.events import Event

__all__ = ["DrainRequest", "Drained", "drain", "main_handler"]

_SERVICE: Final = "consumers.runners.drain"

_TICK_S: Final = 0.001
"""Least wait in seconds: a rest left by rounding may be too small to move a clock."""

log = logs.get(__name__)


class DrainRequest(msgspec.Struct, frozen=True):
    """Request of a call: fields of its event, or of the JSON in the timer's `Message`."""

    topics: tuple[str, ...] = ()
    """Topics to take, of this function's topics; empty takes all of them."""


class Drained(msgspec.Struct, frozen=True):
    """Counts by outcome (`consumers.runners.dispatcher.DeliveryOutcome`) of one call, and the reason it returned."""

    done: int
    throttled: int
    cut_off: int
    abandoned: int
    ended: Literal["empty", "time"]
    """`empty`: no message was at work for DRAIN_IDLE_S. Messages not yet due, or paused, are left to a later call."""
    seconds: float


def main_handler(event: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """Drain once, within the function's time limit. Returns the counts.

    The event, or the JSON in a timer's `Message`, may narrow the topics: `{"topics": ["poll", "wake"]}`.

    Raises:
        messages.errors.ScfWorkersError: the request is invalid, no message could be taken, or the broker went down
            while messages were at work. No message is lost: the broker redelivers every message without an ack.
    """
    begin, limit = time.monotonic(), time_limit_s(context)
    process = instance(_SERVICE, open_services)
    with logs.context(request_id=str(context.get("request_id", ""))):
        drained = process.call(lambda services: _drain_within_budget(event, begin, limit, services, process))
    return dict(msgspec.structs.asdict(drained))


async def _drain_within_budget(
    event: Mapping[str, Any], begin: float, limit: float, services: Services, process: Instance[Services]
) -> Drained:
    settings = process.settings
    budget = budget_of(begin, limit, settings.shutdown_grace_s)
    topics = _topics(event, settings)
    if any(group.paid for group in groups_of(topics)):
        check_reserve(budget, limit, reserve_of(services, topics))
    try:
        return await drain(services, budget, topics=topics, settings=settings)
    except Unsettled:
        await process.disconnect(budget.let_go_s)
        raise


async def drain(services: Services, budget: TimeBudget, *, topics: Sequence[str], settings: Settings) -> Drained:
    """Take messages until none was at work for a while, or until the budget ends.

    Args:
        services: the bundle of services; its broker stays open.
        budget: when to stop.
        topics: topics to take; all if empty.
        settings: DRAIN_IDLE_S, WORK_CONCURRENCY and USER_CONCURRENCY are used.

    Raises:
        consumers.runners.errors.Unsettled: messages were still held at the budget's end. Close the broker now.
        transport.errors.BrokerDown: no subscription could be opened.
    """
    loop = asyncio.get_running_loop()
    pauses = Pauses(loop.time)
    dispatcher = build_dispatcher(services, pauses, settings.user_concurrency)
    pump = Pump(
        services.broker,
        dispatcher,
        pauses,
        groups=groups_of(topics),
        keys=keys_of(services),
        most=permits_of(services),
        watch=(partial(watch_vendors, services, pauses),),
        concurrency=settings.work_concurrency,
        grace=budget.cut - budget.stop,
        until=budget.cut,
        reserve=reserve_of(services, topics),
    )
    try:
        async with asyncio.timeout_at(budget.end):
            ended = await _pump_until_over(pump, dispatcher, settings.drain_idle_s, budget)
    except TimeoutError:
        raise Unsettled("the call's time was over before its messages could be let go of") from None
    counts = {end.value: dispatcher.counts[end] for end in DeliveryOutcome}
    drained = Drained(**counts, ended=ended, seconds=round(loop.time() - budget.begin, 3))
    log.info(Event.DRAIN_DONE, **msgspec.structs.asdict(drained))
    await StatusReport(process_name(_SERVICE), pump.state, services.ledger).write(
        min(LIMIT_S, budget.end - loop.time())
    )
    return drained


async def _pump_until_over(
    pump: Pump, dispatcher: Dispatcher, idle_s: float, budget: TimeBudget
) -> Literal["empty", "time"]:
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(pump.run(), name="pump")
    try:
        ended: Literal["empty", "time"] = "empty"
        while (left := idle_s - min(dispatcher.idle_s, pump.open_s)) > 0 and not running.done():
            if loop.time() >= budget.stop:
                ended = "time"
                break
            await asyncio.wait([running], timeout=max(_TICK_S, min(left, budget.stop - loop.time())))
        pump.stop()
        # It is not awaited directly: a pump that does not end would then delay the cancellation too.
        await asyncio.wait([running])
        running.result()
    finally:
        if running.cancel():
            await asyncio.wait([running], timeout=budget.let_go_s)
    return ended


def _topics(event: Mapping[str, Any], settings: Settings) -> tuple[str, ...]:
    """Return the setting's topics, narrowed to those of the request.

    Raises:
        runtime.errors.BadSettings: a topic does not exist or is not this function's, or the request is invalid.
    """
    mine = _named("WORK_TOPICS", settings.topics)
    wanted = _named("the event's `topics`", parse_request(event, DrainRequest).topics)
    if mine and (foreign := sorted(set(wanted) - set(mine))):
        raise BadSettings(f"the event asks for {', '.join(foreign)}, which WORK_TOPICS does not give this function")
    return wanted or mine


def _named(where: str, topics: tuple[str, ...]) -> tuple[str, ...]:
    try:
        groups_of(topics)
    except ValueError as error:
        raise BadSettings(f"{where}: {error}") from error
    return topics
