"""The stand-in as an ASGI app: resolves the address, checks the signature, chooses the verb, answers as COS does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette

from sandbox.cos.bucket_rules import cross_origin_headers, preflight
from sandbox.cos.ci.audit import AuditRules
from sandbox.cos.control import control_routes
from sandbox.cos.errors import Refused
from sandbox.cos.events import Events, Sink
from sandbox.cos.faults import FaultKind
from sandbox.cos.http.address import Resolver, split_absolute
from sandbox.cos.http.signature import Evidence, verify
from sandbox.cos.http.wire import Answer, ClientGone, Connection, CosRequest, error_answer, send_answer
from sandbox.cos.routes import choose
from sandbox.cos.service import Service
from sandbox.cos.store import Store

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

__all__ = ["CosApp", "create_app"]

_LOG = logging.getLogger(__name__)


class CosApp(Starlette):
    """Stand-in of COS: serves each bucket on its own host and, in path style, on the loopback host.

    It has control endpoints too.

    `app.state.service` is the running `Service`, `app.state.events` its `Events`.

    Args:
        service: state that all request handlers share.
        secrets: SecretId -> SecretKey.
        tokens: SecretId -> token that its requests must carry.
    """

    def __init__(self, service: Service, secrets: Mapping[str, str], tokens: Mapping[str, str]) -> None:
        super().__init__(routes=control_routes(service), lifespan=self._live)
        self._service = service
        self._secrets = secrets
        self._tokens = tokens
        self.state.service = service
        self.state.events = service.events

    @contextlib.asynccontextmanager
    async def _live(self, _: Starlette) -> AsyncGenerator[None]:
        try:
            async with self._service.events:
                yield
        finally:
            await asyncio.to_thread(self._service.close)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as COS, or as a control endpoint."""
        if scope["type"] == "http" and not self._is_control(scope):
            await self._serve(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def _is_control(self, scope: Scope) -> bool:
        host = next((value for name, value in scope["headers"] if name.lower() == b"host"), b"").decode("latin-1")
        return not split_absolute(scope["path"]) and self._service.resolver.is_control(host, scope["path"])

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = Connection(receive, send)
        request = CosRequest.of(scope, receive)
        answer: Answer | None = None
        try:
            answer = await self._answer(request)
            if answer is None or self._service.faults.take(FaultKind.CUT_AFTER, request.method, request.key):
                await connection.cut()
                return
            self._service.requests[f"{request.verb} {answer.status}"] += 1
            if request.bucket and request.method != "OPTIONS":
                answer.headers += await cross_origin_headers(self._service, request)
            await send_answer(answer, request, send, self._service.clock())
        except ClientGone:
            return
        finally:
            request.answered.set()
            if answer is not None and answer.file is not None:
                await asyncio.shield(self._service.run(answer.file.close))

    async def _answer(self, request: CosRequest) -> Answer | None:
        """Answer a request; None cuts the connection."""
        try:
            return await self._work(request)
        except Refused as refused:
            return error_answer(refused, request)
        except ClientGone:
            raise
        except Exception:  # noqa: BLE001 - a defect of the stand-in is logged, and answered in COS's form
            _LOG.exception("the stand-in itself failed at %s", request.verb)
            return error_answer(Refused(500, "InternalError", "The stand-in itself failed."), request)

    async def _work(self, request: CosRequest) -> Answer | None:
        request.check()
        request.address = self._service.resolver.resolve(request.host, request.raw_path)
        if self._service.faults.take(FaultKind.CUT_BEFORE, request.method, request.key):
            return None
        if self._service.faults.take(FaultKind.UNAVAILABLE, request.method, request.key):
            raise Refused(503, "ServiceUnavailable", "Reduce your request rate.")
        if request.method == "OPTIONS":
            request.verb = "OPTIONS"
            return await preflight(self._service, request)
        verify(self._evidence(request), self._secrets, self._tokens, self._service.clock())
        if self._service.faults.take(FaultKind.FORBIDDEN, request.method, request.key):
            raise Refused(403, "AccessDenied", "Access Denied.")
        route = choose(request)
        request.verb = route.name
        return await route.handler(self._service, request)

    def _evidence(self, request: CosRequest) -> Evidence:
        return Evidence(request.method, request.address.paths, request.address.hosts, request.headers, request.query)


def create_app(  # noqa: PLR0913 - the settings of a stand-in, all by name
    *,
    data_dir: Path,
    buckets: Sequence[str],
    credentials: Mapping[str, str],
    tokens: Mapping[str, str] | None = None,
    region: str = "ap-guangzhou",
    appid: str = "1250000000",
    on_created: Sink | None = None,
    event_prefixes: Mapping[str, str] | None = None,
    event_pause: float = 1.0,
    versioning: Mapping[str, str] | None = None,
    audit_rules: AuditRules | None = None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> CosApp:
    """Create a stand-in for COS and CI. Serve it with `sandbox.server.Server`, or run its lifespan.

    Args:
        data_dir: folder of the objects, which survive restarts. One process at a time.
        buckets: full names, with the APPID.
        credentials: SecretId -> SecretKey.
        tokens: SecretId -> STS token that its requests must carry; requests of other SecretIds must carry none.
        region: such as `ap-guangzhou`.
        appid: APPID of the account, as in the buckets' names.
        on_created: receiver of COS events: a sink of `sandbox.cos.events`, or any coroutine function.
        event_prefixes: bucket -> prefix of the created objects that have events; `input/` in every bucket if None.
        event_pause: seconds before a failed event is delivered again.
        versioning: bucket -> `Enabled` or `Suspended`; others never kept versions.
        audit_rules: rules of the content audit.
        clock: the store's time, in seconds since the epoch.
        sleep: wait of a slow answer.
    """
    prefixes = dict.fromkeys(buckets, "input/") if event_prefixes is None else event_prefixes
    service = Service(
        store=Store(data_dir, clock),
        clock=clock,
        sleep=sleep,
        resolver=Resolver(buckets, region),
        region=region,
        appid=appid,
        event_prefixes=prefixes,
        versioning=versioning or {},
        audit=audit_rules or AuditRules(),
        events=Events(on_created, pause=event_pause),
    )
    return CosApp(service, dict(credentials), dict(tokens or {}))
