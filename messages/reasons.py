"""Plain words for why a call failed: people read them in logs, in waits and on terminals, where no class names stand.

Pure. The exceptions of httpx, requests, urllib3 and the standard library are known by the names of their classes, so
none of these libraries is imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

__all__ = ["reason_of"]

_DEPTH: Final = 8
"""Causes that are followed at most."""

_UNCONNECTED: Final = "no connection"

_WORDS: Final[Mapping[str, str]] = {
    "ConnectTimeout": "no connection in time",
    "ConnectTimeoutError": "no connection in time",
    "PoolTimeout": "no free connection in time",
    "ReadTimeout": "no answer in time",
    "ReadTimeoutError": "no answer in time",
    "WriteTimeout": "the request could not be sent in time",
    "TimeoutError": "no answer in time",
    "Timeout": "no answer in time",
    "ConnectError": _UNCONNECTED,
    "NewConnectionError": _UNCONNECTED,
    "ConnectionRefusedError": _UNCONNECTED,
    "gaierror": _UNCONNECTED,
    "SSLError": _UNCONNECTED,
    "ProxyError": _UNCONNECTED,
    "ReadError": "the connection broke before the answer was read",
    "WriteError": "the connection broke before the request was sent",
    "CloseError": "the connection broke",
    "RemoteProtocolError": "the answer ended early, or is not HTTP",
    "LocalProtocolError": "the request is not HTTP",
    "IncompleteReadError": "the answer ended early",
    "IncompleteRead": "the answer ended early",
    "ChunkedEncodingError": "the answer ended early",
    "RemoteDisconnected": "the connection broke before the answer came",
    "ProtocolError": "the connection broke",
    "HTTPException": "the answer is not HTTP",
    "InvalidURL": "the URL is malformed",
    "UnsupportedProtocol": "the URL is malformed",
    "ConnectionError": "the connection broke",
    "UnicodeDecodeError": "it is not text",
    "DecodeError": "it is not of the expected form",
    "ValidationError": "it is not of the expected form",
    "OSError": "the connection failed",
}
"""Class -> words. The first class of an error that stands here counts, from the error's own to its bases."""

_GENERAL: Final = frozenset({"ConnectionError", "OSError", "ProxyError", "ProtocolError"})
"""Classes whose cause, if it stands in the table, says more."""

_DETAILS: Final[Mapping[str, str]] = {
    "ConnectionRefusedError": "nothing listens there",
    "gaierror": "its name is not found",
    "SSLCertVerificationError": "its certificate is not trusted",
    "SSLError": "TLS failed",
}
"""Class -> why there is no connection. Only of an error without a connection."""


def reason_of(error: BaseException) -> str:
    """Return why a call failed, such as `no connection: nothing listens there`.

    The text of the error is never used, because it may quote what the other side sent, and that our key. An error that
    belongs to no call is a defect, of ours or of a library, and is named by its class.
    """
    chain = list(_causes(error))
    names = [name for one in chain for name in _known(one)]
    if not names:
        return f"an unexpected {type(error).__name__}"
    words = _WORDS[next((name for name in names if name not in _GENERAL), names[0])]
    if words != _UNCONNECTED:
        return words
    classes = {kind.__name__ for one in chain for kind in type(one).__mro__}
    detail = next((detail for name, detail in _DETAILS.items() if name in classes), "")
    return f"{words}: {detail}" if detail else words


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what caused it, the error first."""
    found: BaseException | None = error
    for _ in range(_DEPTH):
        if isinstance(found, BaseExceptionGroup):
            # Of several addresses of a host, one is as good as another.
            found = found.exceptions[0]
        if found is None:
            return
        yield found
        # Also a context that `from None` hides: httpcore hides the operating system's error.
        found = found.__cause__ or found.__context__


def _known(error: BaseException) -> Iterator[str]:
    """Yield the first class of an error that has words."""
    for kind in type(error).__mro__:
        if kind.__name__ in _WORDS:
            yield kind.__name__
            return
