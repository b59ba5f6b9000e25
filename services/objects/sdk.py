"""Adapter of the COS SDK: a call returns the answer or raises an error of our tree. Blocks: called from threads only.

It avoids these traits of the SDK (its source, 1.9.44): retries of its own, one connection pool for the whole process, a
token that `CredentialInstance` never sends, headers and Authorization in its log, exceptions such as UnboundLocalError
for a refused connection, error codes that get lost, and answers of 3xx taken for success.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from messages.errors import ScfWorkersError
from messages.reasons import reason_of
from services.errors import Denied
from services.objects._failures import Failure, code_of, error_of, request_id_of
from services.objects.credentials import Credentials
from services.retry_after import http_time, wait_of
from telemetry import logs
from telemetry.events import Event

if TYPE_CHECKING:
    import requests

__all__ = ["Address", "Sdk", "SdkResponse", "drop", "with_alarm"]

T = TypeVar("T")

_CONNECT_SECONDS: Final = 5.0
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*\Z")

log = logs.get(__name__)


class Address(msgspec.Struct, frozen=True):
    """Address of a bucket.

    With an `endpoint` such as `http://127.0.0.1:9000` it is addressed by path: a stand-in then needs no DNS names, and
    its presigned URLs work for every client.
    """

    bucket: str
    region: str
    endpoint: str = ""
    scheme: str = "https"

    def __post_init__(self) -> None:
        for name in (self.bucket, self.region):
            if not _NAME.match(name):
                raise ValueError(f"{name!r} is no name of a bucket or region")
        if self.endpoint and not urlsplit(self.endpoint).netloc:
            raise ValueError(f"{self.endpoint!r} is no URL")

    @property
    def host(self) -> str:
        """Host of the bucket, with a port where the endpoint has one."""
        return urlsplit(self.endpoint).netloc or f"{self.bucket}.cos.{self.region}.myqcloud.com"

    def settings(self) -> dict[str, Any]:
        """Return the address as the SDK takes it."""
        if not self.endpoint:
            return {"Region": self.region, "Scheme": self.scheme}
        parts = urlsplit(self.endpoint)
        return {
            "Region": self.region,
            "Scheme": parts.scheme,
            "Domain": f"{parts.netloc}/{self.bucket}",
            "EndpointCi": parts.netloc,
        }


class SdkResponse(msgspec.Struct, frozen=True):
    """An answer of COS: as the SDK parsed it, and as it came."""

    result: Any
    response: Any
    """The `requests.Response`."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of the answer, case-insensitive; those of the SDK are not."""
        headers: Mapping[str, str] = self.response.headers
        return headers


class Sdk:
    """SDK client of one bucket. Threads share it.

    Args:
        address: where the bucket is.
        credentials: called before each request; a role's token changes while the process lives.
        connections: size of the pool.
        timeout: seconds for each read or write of a socket.
    """

    def __init__(
        self, address: Address, credentials: Callable[[], Credentials], *, connections: int, timeout: float
    ) -> None:
        self._address = address
        self._credentials = credentials
        self._connections = connections
        self._timeout = (min(_CONNECT_SECONDS, timeout), timeout)
        self._lock = threading.Lock()
        self._answers = threading.local()
        self._session: requests.Session | None = None
        self._client: Any = None
        self._signed_by: Credentials | None = None

    def call(self, operation: str, key: str, work: Callable[[Any], Any]) -> SdkResponse:
        """Let `work` make one request with the SDK's client.

        Raises:
            messages.errors.ScfWorkersError: as `services.objects._failures.error_of` says. It has nothing of the SDK's
            exception, whose text may hold the signed string.
        """
        (client, _), result, reason = self.signed(), None, ""
        self._answers.last = None
        try:
            result = work(client)
        except ScfWorkersError:
            drop(self._taken())
            raise
        except Exception as error:  # noqa: BLE001 - the SDK raises what it likes; see the head of this module
            reason = reason_of(error.__context__ or error)
        response = self._taken()
        if response is not None and not reason and response.status_code < 300:  # noqa: PLR2004 - HTTP's own number
            return SdkResponse(result, response)
        failure = _failure(operation, key, response, reason, self._address.host)
        drop(response)
        raise with_alarm(error_of(failure))

    def guard(self, operation: str, key: str, work: Callable[[], T]) -> T:
        """Let `work` read the answer.

        Raises:
            services.errors.ObjectsDown: `work` raised: the answer broke off or is not COS's. An error of our own tree
                passes unchanged.
        """
        try:
            return work()
        except ScfWorkersError:
            raise
        except Exception as error:  # noqa: BLE001 - urllib3, ssl and parsers raise what they like
            failure = Failure(operation, key, reason=reason_of(error))
        raise error_of(failure)

    def signed(self) -> tuple[Any, Credentials]:
        """Return the SDK's client, and the current credentials that it signs with.

        Raises:
            services.errors.Denied: there are no credentials, or the SDK does not take them.
        """
        reason = ""
        try:
            credentials = self._credentials()
            with self._lock:
                if self._client is None or credentials != self._signed_by:
                    self._client, self._signed_by = self._build(credentials), credentials
                return self._client, credentials
        except ScfWorkersError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - its text may hold the credentials
            reason = reason_of(error)
        raise with_alarm(Denied(f"no credentials that COS would take ({reason})"))

    def close(self) -> None:
        """Drop the idle connections."""
        if self._session is not None:
            self._session.close()

    def _build(self, credentials: Credentials) -> Any:  # noqa: ANN401 - the SDK has no types
        from qcloud_cos import CosConfig, CosS3Client

        # At INFO it prints URLs and headers, at DEBUG the Authorization, and at ERROR each body of a 4xx: of 404s and
        # 409s, which are ordinary answers here, and of 403s, which repeat the string to sign.
        logging.getLogger("qcloud_cos").setLevel(logging.CRITICAL)
        if self._session is None:
            self._session = self._open_session()
        config = CosConfig(
            SecretId=credentials.secret_id.reveal(),
            SecretKey=credentials.secret_key.reveal(),
            Token=credentials.token.reveal() or None,
            Timeout=self._timeout,
            **self._address.settings(),
        )
        return CosS3Client(config, retry=0, session=self._session)

    def _open_session(self) -> requests.Session:
        import requests
        from requests.adapters import HTTPAdapter

        session = requests.Session()
        session.trust_env = False
        # The bytes are stored as given: nothing compresses them on the way.
        session.headers["Accept-Encoding"] = "identity"
        session.hooks["response"].append(self._note)
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=self._connections, max_retries=0))
        return session

    def _taken(self) -> requests.Response | None:
        last: requests.Response | None = self._answers.last
        self._answers.last = None
        return last

    def _note(self, response: requests.Response, *_: object, **__: object) -> None:
        self._answers.last = response
        # No encoding was asked for. One that comes all the same is not undone: a small answer would become a large one.
        response.raw.headers.pop("Content-Encoding", None)
        # The SDK reads each error's body as text. Without this, requests would guess its encoding: 0.2 ms for a 404.
        response.encoding = "utf-8"


def with_alarm(error: ScfWorkersError) -> ScfWorkersError:
    """Return the error, with an alarm where only a person can help: this machine's work waits meanwhile."""
    if isinstance(error, Denied):
        log.error(Event.STORE_REFUSED, error=error)
    return error


def drop(response: requests.Response | None) -> None:
    """Close an answer that may be unread, also while another thread reads it."""
    if response is None:
        return
    # Wakes the reader, whose lock `close` would wait for. urllib3 before 2.3 has no `shutdown`; a read one refuses it.
    with suppress(AttributeError, OSError, RuntimeError, ValueError):
        response.raw.shutdown()
    response.close()


def _failure(operation: str, key: str, response: requests.Response | None, reason: str, host: str) -> Failure:
    if response is None:
        return Failure(operation, key, host=host, reason=reason or "nothing was sent")
    status, headers = response.status_code, response.headers
    body, code, cut = b"", "", False
    if status >= 400:  # noqa: PLR2004 - HTTP's own number; below it the body may be large and unread
        try:
            body = response.content
        except (OSError, RuntimeError):
            cut = True
        code = code_of(body)
        # A 400 means nothing without its code; only an answer to HEAD has none.
        cut = cut or (status == HTTPStatus.BAD_REQUEST and not code and response.request.method != "HEAD")
    return Failure(
        operation,
        key,
        status=status,
        code=code,
        cut=cut,
        request_id=request_id_of(headers.get("x-cos-request-id", "")),
        reason=reason if status < 400 else "",  # noqa: PLR2004
        retry_after=wait_of(headers),
        date=http_time(headers.get("Date", "")) or 0.0,
    )
