"""The side that faces the cloud function platform: one event loop a process, and what is opened is kept while warm.

Nothing runs on after a handler's return, because the platform freezes the instance: the loop stands still between
calls, and spans and metrics have been sent, or given up, before.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Final, Generic, TypeVar

import msgspec

from messages.errors import ScfWorkersError
from runtime.credentials import forbid_core_dumps
from runtime.errors import BadSettings
from runtime.settings import Settings, load_settings, mask_secrets
from runtime.wiring import Environ, open_telemetry
from telemetry import logs
from telemetry.events import Event
from telemetry.exporters import Exporters
from telemetry.instruments import SpanName
from telemetry.redaction import redact_text
from telemetry.tracing import span

__all__ = [
    "FunctionEvent",
    "Instance",
    "Opener",
    "close_instance",
    "current_loop",
    "instance",
    "parse_request",
    "time_limit_s",
]

T = TypeVar("T")
Opened = TypeVar("Opened")
Asked = TypeVar("Asked", bound=msgspec.Struct)

log = logs.get(__name__)

FunctionEvent = Mapping[str, Any]

Opener = Callable[[Settings, Environ], AbstractAsyncContextManager[Opened]]
"""Opens the services of a function, and no more than these (`runtime.wiring`)."""

_TIME_LIMIT_S: Final = 60.0
"""Where the platform does not tell a function's time limit."""

_TIMER: Final = frozenset({"Type", "TriggerName", "Time", "Message"})
"""What a timer's event consists of."""


class Instance(Generic[Opened]):
    """One instance of a function: opened at its first call, kept while it is warm.

    Args:
        service: name of the function in its logs.
        opener: opens its services.
    """

    def __init__(self, service: str, opener: Opener[Opened]) -> None:
        self._service = service
        self._opener = opener
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stack = AsyncExitStack()
        self._settings: Settings | None = None
        self._services: Opened | None = None
        self._exporters: Exporters | None = None
        self._closing: asyncio.Task[None] | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop, once there was a call."""
        return self._loop

    @property
    def settings(self) -> Settings:
        """The settings, while a call is at work."""
        if self._settings is None:
            raise RuntimeError("the settings are read when the first call begins")
        return self._settings

    def call(self, work: Callable[[Opened], Awaitable[T]]) -> T:
        """Do one call's work to its end.

        Raises:
            messages.errors.ScfWorkersError: it failed. The platform prints what is raised, past our filter, so it has
                no causes: their texts may hold what was signed.
        """
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        try:
            return self._loop.run_until_complete(self._call(work))
        except Exception as error:  # noqa: BLE001 - told whole to the log, and raised anew for the platform
            # Where settings are read is no news: what they lack is all that helps.
            log.error(Event.CALL_FAILED, error=BadSettings(str(error)) if isinstance(error, BadSettings) else error)
            raise _told(error) from None
        finally:
            if self._exporters is not None:
                self._exporters.flush()

    def close(self) -> None:
        """Close everything; the next call opens it anew."""
        if self._loop is not None:
            self._loop.run_until_complete(self._stack.aclose())
            self._loop.close()
        if self._exporters is not None:
            self._exporters.close()
        self._loop, self._services, self._exporters = None, None, None

    async def disconnect(self, limit_s: float) -> None:
        """From within a call that must end now: drop the services; the next call opens them again.

        Args:
            limit_s: seconds to wait for what is dropped to close. A broker that is away may not be stopped in that, and
                then goes on with it when the instance is called again.
        """
        stack, self._stack, self._services = self._stack, AsyncExitStack(), None
        self._closing = asyncio.create_task(stack.aclose(), name="disconnect")
        done, _ = await asyncio.wait([self._closing], timeout=limit_s)
        for task in done:
            task.result()

    async def _call(self, work: Callable[[Opened], Awaitable[T]]) -> T:
        if self._settings is None or self._exporters is None:
            forbid_core_dumps()
            mask_secrets(os.environ)
            logs.setup(sys.stdout, "INFO", self._service)
            self._settings = load_settings(os.environ)
            logs.setup(sys.stdout, self._settings.log_level, self._service)
            self._exporters = open_telemetry(self._settings, self._service)
        with span(SpanName.HANDLE, "", of=self._service, function=self._service):
            if self._services is None:
                services = self._opener(self._settings, lambda: os.environ)
                self._services = await self._stack.enter_async_context(services)
            return await work(self._services)


def _told(error: Exception) -> ScfWorkersError:
    """The error as it may leave: its class and its text, without what is secret in it."""
    if not isinstance(error, ScfWorkersError):
        return ScfWorkersError(redact_text(f"{type(error).__name__}: {error}"))
    error.args = (redact_text(str(error)),)
    return error


class _Process:
    """A process serves one function: the one instance that the platform keeps warm."""

    instance: Instance[Any] | None = None
    opened: tuple[str, Opener[Any] | None] = ("", None)
    """Service and opener of the instance."""


_process: Final = _Process()


def instance(service: str, opener: Opener[Opened]) -> Instance[Opened]:
    """This process's instance of its function, made at the first call.

    Args:
        service: name of the function in its logs.
        opener: opens its services.

    Raises:
        RuntimeError: the process serves another function already, or the same one opened otherwise.
    """
    asked = (service, opener)
    if _process.instance is None:
        _process.instance, _process.opened = Instance(service, opener), asked
    if asked != _process.opened:
        raise RuntimeError(
            f"this process serves {_name(*_process.opened)} and cannot serve {_name(*asked)}: each has its own process"
        )
    return _process.instance


def _name(service: str, opener: Opener[Any] | None) -> str:
    return f"{service} ({getattr(opener, '__name__', opener)})"


def current_loop() -> asyncio.AbstractEventLoop | None:
    """The loop of this process's instance, if it has been called."""
    return _process.instance.loop if _process.instance else None


def close_instance() -> None:
    """Close this process's instance, if it has been called."""
    if _process.instance is not None:
        _process.instance.close()


def time_limit_s(context: Mapping[str, Any]) -> float:
    """Seconds that the platform lets a call take, as the call's context says."""
    return float(context.get("time_limit_in_ms") or _TIME_LIMIT_S * 1000) / 1000


def parse_request(event: FunctionEvent, kind: type[Asked]) -> Asked:
    """What a call by a timer or by hand asks for: the event's fields, over those of the JSON in a timer's `Message`.

    A timer's `Message` may be any text (SCF, timer trigger), and asks for something when it begins as a JSON object.
    What a trigger's event holds besides is the platform's business; an event by hand holds an order and nothing else.

    Args:
        event: of the call.
        kind: a struct whose fields, each with a default, are what may be asked for.

    Raises:
        runtime.errors.BadSettings: it asks for what there is not, or in a form that cannot be read. Half of an order is
            not followed: its other half may be what keeps the call to its own topics or tasks.
    """
    names = tuple(field.encode_name for field in msgspec.structs.fields(kind))
    by_hand = not _TIMER & event.keys()
    fields = {name: value for name, value in event.items() if by_hand or name in names}
    asked = {**_message(event.get("Message")), **fields}
    if unknown := sorted(map(repr, asked.keys() - set(names))):
        raise BadSettings(f"the call asks for {', '.join(unknown)}, but may ask only for {', '.join(names)}")
    try:
        return msgspec.convert(asked, kind)
    except msgspec.ValidationError as error:
        raise BadSettings(f"what the call asks for cannot be used: {error}") from error


def _message(text: object) -> Mapping[str, Any]:
    if not isinstance(text, str) or not text.lstrip().startswith("{"):
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadSettings(f"the timer's Message begins with a brace, but is no JSON object: {error}") from error
