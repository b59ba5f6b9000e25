"""Harnesses of the suite of object stores: each holds one store, and sets its faults and times."""

from __future__ import annotations

import asyncio
import io
import itertools
import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from PIL import Image

from messages.errors import Permanent
from sandbox.cos.app import create_app
from sandbox.cos.ci.pictures import BadPicture as NoPicture
from sandbox.cos.ci.pictures import UnknownOperation, examine, process
from sandbox.cos.faults import Fault, FaultKind
from sandbox.cos.service import Service
from sandbox.server import Server
from sandbox.video import NoVideo, frame_at, probe
from services.errors import AuditDown, BadPicture, BadVideo, Denied, ObjectsDown
from services.media.types import HEAD, type_of
from services.objects.cos import CosObjects, Credentials
from services.objects.memory import MemoryObjects
from services.objects.port import Objects, Result, VideoInfo, VideoLabel
from telemetry.secrets import Secret
from tests.support.video_labels import labelled


class Harness(Protocol):
    """A store, and the faults and times that a test sets."""

    objects: Objects
    versioned: Objects
    """A bucket that once kept versions."""

    def key(self, name: str) -> str:
        """A key that no other test uses."""
        ...

    def cut(self, operation: str, key: str, *, done: bool) -> None:
        """Leave the next such call without an answer, with or without its effect."""
        ...

    async def visit(self, url: str, method: str = "GET", body: bytes = b"") -> bytes | None:
        """Content that a caller without a key gets from a URL; None if the store refuses it."""
        ...

    def pass_time(self, seconds: float) -> None:
        """Move the store's clock forward."""
        ...


class MemoryWorld:
    def __init__(self) -> None:
        self.passed = 0.0
        self.objects = MemoryObjects(
            bucket="b-1",
            clock=self.now,
            process=painted,
            audit=judged,
            audit_text=judged_text,
            videos=PlainVideos(),
        )
        self.versioned = MemoryObjects(bucket="v-1", clock=self.now, keeps_versions=True)

    def now(self) -> float:
        return time.time() + self.passed

    def key(self, name: str) -> str:
        return f"t/{name}"

    def cut(self, operation: str, key: str, *, done: bool) -> None:
        async def strike(struck: str, at: str, *, done: bool, when: bool = done) -> None:
            if (struck, at, done) == (operation, key, when):
                self.objects.faults = None
                raise ObjectsDown(f"{operation}: cut")

        self.objects.faults = strike

    async def visit(self, url: str, method: str = "GET", body: bytes = b"") -> bytes | None:
        try:
            return await self.objects.visit(url, method=method, body=body)
        except Denied:
            return None

    def pass_time(self, seconds: float) -> None:
        self.passed += seconds


class PlainVideos:
    """Readers of the stand-in's media."""

    def info(self, body: bytes) -> VideoInfo:
        try:
            found = probe(io.BytesIO(body))
        except NoVideo as error:
            raise BadVideo(str(error)) from error
        return VideoInfo(found.codec, found.width, found.height, found.seconds)

    def still(self, body: bytes, at_s: float) -> bytes:
        saved = io.BytesIO()
        try:
            frame_at(io.BytesIO(body), at_s).save(saved, "JPEG", quality=90)
        except NoVideo as error:
            raise BadVideo(str(error)) from error
        return saved.getvalue()

    def labelled(self, body: bytes, label: VideoLabel) -> bytes:
        return labelled(body, label)


def painted(body: bytes, rule: str) -> Any:
    try:
        return process(body, rule)
    except NoPicture as error:
        raise BadPicture(str(error)) from error
    except UnknownOperation as error:
        raise Permanent(str(error)) from error


def judged(key: str, body: bytes) -> Result:
    if type_of(body[:HEAD]).startswith("video/"):
        return judged_text(key)
    try:
        examine(body)
    except NoPicture as error:
        raise AuditDown(str(error), key=key) from error
    return judged_text(key)


def judged_text(text: str) -> Result:
    violation, suspect = "violation" in text.lower(), "suspect" in text.lower()
    score = 95 if violation else 75 if suspect else 0
    return Result(violation, suspect, "Porn" if violation or suspect else "Normal", score)


class CosWorld:
    """The store on COS, against the stand-in over loopback."""

    bucket, versions = "pictures-1250000000", "versions-1250000000"
    region = "ap-guangzhou"
    secrets: ClassVar = {"AKIDlocal": "key-local", "AKIDsts": "key-sts"}
    tokens: ClassVar = {"AKIDsts": "token/of+a=role"}

    def __init__(self, folder: Path) -> None:
        self.passed = 0.0
        app = create_app(
            data_dir=folder,
            buckets=[self.bucket, self.versions],
            credentials=self.secrets,
            tokens=self.tokens,
            region=self.region,
            event_prefixes={},
            versioning={self.versions: "Suspended"},
            clock=lambda: time.time() + self.passed,
        )
        self.service: Service = app.state.service
        self.server = Server(app)
        self.numbers = itertools.count()
        self.opened: list[CosObjects] = []

    def begin(self) -> Self:
        """A new test."""
        self.passed = 0.0
        self.service.faults.clear()
        self.folder = f"t{next(self.numbers)}"
        self.objects, self.versioned = self.open(), self.open(bucket=self.versions)
        return self

    def end(self) -> None:
        for store in self.opened:
            asyncio.run(store.close())
        self.opened.clear()

    def open(self, **options: Any) -> CosObjects:
        """A store of its own, closed when the test ends."""
        usual = {"bucket": self.bucket, "region": self.region, "endpoint": self.server.url, "pool": 8, "timeout": 10.0}
        store = CosObjects(**{"credentials": lambda: signed_by("AKIDlocal"), **usual, **options})
        self.opened.append(store)
        return store

    def key(self, name: str) -> str:
        return f"{self.folder}/{name}"

    def cut(self, operation: str, key: str, *, done: bool) -> None:
        method = "DELETE" if operation == "delete" else "PUT"
        kind = FaultKind.CUT_AFTER if done else FaultKind.CUT_BEFORE
        self.service.faults.arm(Fault(kind, method=method, key=f"^{re.escape(key)}$"))

    def cut_text_audit(self) -> None:
        self.service.faults.arm(Fault(FaultKind.CUT_BEFORE, method="POST", key="^text/auditing$"))

    async def visit(self, url: str, method: str = "GET", body: bytes = b"") -> bytes | None:
        request = Request(url, method=method, data=body or None)  # noqa: S310 - the stand-in's own URL
        return await asyncio.to_thread(fetched, request)

    def pass_time(self, seconds: float) -> None:
        self.passed += seconds


def fetched(request: Request) -> bytes | None:
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=10) as answer:
            body: bytes = answer.read()
            return body
    except HTTPError as error:
        with error:
            if error.code == HTTPStatus.FORBIDDEN:
                return None
            raise


def signed_by(name: str, token: str = "") -> Credentials:
    return Credentials(Secret(name), Secret(CosWorld.secrets[name]), Secret(token))


class Body:
    """A body of known size that comes in pieces, and may break."""

    def __init__(self, pieces: Sequence[bytes], *, size: int | None = None, breaks_at: int | None = None) -> None:
        self.pieces, self.breaks_at = pieces, breaks_at
        self.size = sum(map(len, pieces)) if size is None else size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for place, piece in enumerate(self.pieces):
            if place == self.breaks_at:
                raise OSError("the vendor hung up")
            await asyncio.sleep(0)
            yield piece


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A JPEG of 512 x 512 that does not shrink to nothing."""
    saved = io.BytesIO()
    Image.effect_noise((512, 512), 60).convert("RGB").save(saved, "JPEG")
    return saved.getvalue()


@pytest.fixture(scope="session")
def streamed() -> type[Body]:
    return Body


@pytest.fixture(scope="session")
def cos_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CosWorld]:
    harness = CosWorld(tmp_path_factory.mktemp("cos"))
    with harness.server:
        yield harness


@pytest.fixture
def cos_world(cos_server: CosWorld) -> Iterator[CosWorld]:
    yield cos_server.begin()
    cos_server.end()


@pytest.fixture(params=["memory", "cos"])
def harness(request: pytest.FixtureRequest) -> Harness:
    if request.param == "memory":
        return MemoryWorld()
    harness: CosWorld = request.getfixturevalue("cos_world")
    return harness
