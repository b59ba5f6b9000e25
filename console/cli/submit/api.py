"""`scf-workers submit --api URL`: submits one task through the HTTP API, as a client that uploads itself."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import msgspec

from console.cli.client import inside
from console.cli.show import show_progress
from console.cli.terminal import say
from runtime.settings import load_settings, require
from services.errors import BackendDown
from services.http_body import IDENTITY

__all__ = ["submit_to_api"]

T = TypeVar("T")

_ROOT: Final = "/api/v1/ai-generation"
_FINAL: Final = frozenset({"success", "failed", "cancelled"})
_TOKEN_S: Final = 3600
_WAIT_S: Final = 20
_TIMEOUT_S: Final = 60.0


class _File(msgspec.Struct):
    name: str
    url: str


class _Error(msgspec.Struct):
    code: str
    message: str


class _Status(msgspec.Struct, rename="camel"):
    task_id: str
    state: str
    stage: str | None = None
    results: tuple[_File, ...] = ()
    text: str | None = None
    degraded: tuple[str, ...] = ()
    error: _Error | None = None


class _Upload(msgspec.Struct):
    url: str
    headers: Mapping[str, str]
    body: str = ""


class _Bought(msgspec.Struct, rename="camel"):
    task_id: str
    uploads: tuple[_Upload, ...] = ()


def submit_to_api(
    url: str, photos: Sequence[Path], kind: str, params: Mapping[str, Any], *, user: str, out: Path, wait_s: float
) -> bool:
    """Submit one task and show its progress. Returns True if it succeeded, or was not waited for.

    Args:
        url: base URL of the API.
        photos: its inputs.
        kind: its kind.
        params: parameters of the kind.
        user: user who buys it; the token is signed here, with JWT_SECRET.
        out: folder for the results.
        wait_s: seconds to wait for its end; 0 does not wait.

    Raises:
        runtime.errors.BadSettings: JWT_SECRET is not set.
        services.errors.BackendDown: the API does not answer, or refuses.
    """
    return asyncio.run(_submit(url, photos, kind, params, user=user, out=out, wait_s=wait_s))


async def _submit(
    url: str, photos: Sequence[Path], kind: str, params: Mapping[str, Any], *, user: str, out: Path, wait_s: float
) -> bool:
    headers = {**IDENTITY, "Authorization": f"Bearer {_token(user)}"}
    async with httpx.AsyncClient(headers=headers, timeout=_TIMEOUT_S, trust_env=False) as api:
        try:
            task = await _buy(api, url.rstrip("/"), photos, {"kind": kind, "params": dict(params)})
            say(f"task {task}: bought, {len(photos)} files uploaded")
            if not wait_s:
                return True
            status = await _wait(api, f"{url.rstrip('/')}{_ROOT}/tasks/{task}", wait_s)
            await _download(status, out)
        except httpx.HTTPError as error:
            text = f"the API, {url}, does not answer ({type(error).__name__}): start `scf-workers api`"
            raise BackendDown(text) from error
    return _show(status, out)


def _token(user: str) -> str:
    import jwt

    settings = load_settings(os.environ)
    require(settings, "jwt_secret")
    claims = {"sub": user, "exp": int(time.time()) + _TOKEN_S}
    return jwt.encode(claims, settings.jwt_secret.reveal(), algorithm="HS256")


async def _buy(api: httpx.AsyncClient, url: str, photos: Sequence[Path], asked: dict[str, Any]) -> str:
    """Buy a task and upload its inputs. Returns its id."""
    if not photos:
        return (await _ask(api, "POST", f"{url}{_ROOT}/create", _Bought, asked)).task_id
    asked |= {"extensions": [photo.suffix.lstrip(".").lower() for photo in photos]}
    bought = await _ask(api, "POST", f"{url}{_ROOT}/uploads", _Bought, asked)
    bodies = [await asyncio.to_thread(photo.read_bytes) for photo in photos]
    # The last one is the description, and starts the task.
    bodies.append(bought.uploads[-1].body.encode())
    # Without our token: it is for the API alone.
    async with httpx.AsyncClient(headers=IDENTITY, timeout=_TIMEOUT_S, trust_env=False) as store:
        for upload, body in zip(bought.uploads, bodies, strict=True):
            answer = await store.put(upload.url, content=body, headers=dict(upload.headers))
            if not answer.is_success:
                raise BackendDown(f"the store refuses an upload: it answered {answer.status_code}")
    return bought.task_id


async def _wait(api: httpx.AsyncClient, url: str, wait_s: float) -> _Status:
    until = time.monotonic() + wait_s
    with show_progress(1) as shown:
        while True:
            left = max(1, min(_WAIT_S, int(until - time.monotonic())))
            status = await _ask(api, "GET", f"{url}?wait={left}", _Status)
            done = status.state in _FINAL
            shown.update(0, f"{status.task_id}  {status.stage or status.state}", done=done)
            if done or time.monotonic() >= until:
                return status


async def _download(status: _Status, out: Path) -> None:
    async with httpx.AsyncClient(headers=IDENTITY, timeout=_TIMEOUT_S, trust_env=False) as store:
        for result in status.results:
            path = inside(out, Path(status.task_id) / result.name)
            answer = (await store.get(result.url)).raise_for_status()
            await asyncio.to_thread(_write, path, answer.content)


def _write(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)


def _show(status: _Status, out: Path) -> bool:
    if status.state == "success":
        say(status.text or f"success: {len(status.results)} files in {out / status.task_id}")
        if status.degraded:
            say(f"degraded: {', '.join(status.degraded)}")
    else:
        say(f"{status.state}: {status.error.code} ({status.error.message})" if status.error else status.state)
    return status.state == "success"


async def _ask(
    api: httpx.AsyncClient, method: str, url: str, kind: type[T], body: Mapping[str, Any] | None = None
) -> T:
    answer = await api.request(method, url, json=body)
    if not answer.is_success:
        raise BackendDown(f"the API answered {answer.status_code} to {method}: {answer.text[:500]}")
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except msgspec.MsgspecError as error:
        raise BackendDown(f"the API answers {method} with unexpected content: check --api") from error
