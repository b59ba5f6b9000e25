"""Words for why a call failed: raised by the real libraries, and never with a class name or a foreign text."""

from __future__ import annotations

import asyncio
import socket
import ssl
from http.client import BadStatusLine, RemoteDisconnected

import httpx
import msgspec
import pytest
import requests
import urllib3

from messages.reasons import reason_of


def from_cause(error: Exception, cause: BaseException) -> Exception:
    """Return the error as `raise error from cause` would leave it."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (httpx.ConnectError("x"), "no connection"),
        (httpx.ConnectTimeout("x"), "no connection in time"),
        (httpx.PoolTimeout("x"), "no free connection in time"),
        (httpx.ReadTimeout("x"), "no answer in time"),
        (httpx.WriteTimeout("x"), "the request could not be sent in time"),
        (httpx.ReadError("x"), "the connection broke before the answer was read"),
        (httpx.WriteError("x"), "the connection broke before the request was sent"),
        (httpx.RemoteProtocolError("x"), "the answer ended early, or is not HTTP"),
        (httpx.LocalProtocolError("x"), "the request is not HTTP"),
        (httpx.UnsupportedProtocol("x"), "the URL is malformed"),
        (httpx.InvalidURL("x"), "the URL is malformed"),
        (TimeoutError("x"), "no answer in time"),
        (asyncio.IncompleteReadError(b"", 4), "the answer ended early"),
        (ConnectionResetError("x"), "the connection broke"),
        (ConnectionRefusedError("x"), "no connection: nothing listens there"),
        (socket.gaierror(-2, "x"), "no connection: its name is not found"),
        (ssl.SSLCertVerificationError("x"), "no connection: its certificate is not trusted"),
        (ssl.SSLError("x"), "no connection: TLS failed"),
        (OSError("x"), "the connection failed"),
        (BadStatusLine("x"), "the answer is not HTTP"),
        (RemoteDisconnected("x"), "the connection broke before the answer came"),
        (requests.ConnectionError("x"), "the connection broke"),
        (requests.ReadTimeout("x"), "no answer in time"),
        (requests.ConnectTimeout("x"), "no connection in time"),
        (requests.exceptions.ChunkedEncodingError("x"), "the answer ended early"),
        (urllib3.exceptions.ProtocolError("x"), "the connection broke"),
        (msgspec.ValidationError("x"), "it is not of the expected form"),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "x"), "it is not text"),
        (ZeroDivisionError("x"), "an unexpected ZeroDivisionError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_each_failure_has_its_words(error: Exception, words: str) -> None:
    assert reason_of(error) == words


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (ConnectionRefusedError("x"), "no connection: nothing listens there"),
        (socket.gaierror(-2, "x"), "no connection: its name is not found"),
        (ssl.SSLCertVerificationError("x"), "no connection: its certificate is not trusted"),
        (ExceptionGroup("x", [ConnectionRefusedError("x"), OSError("x")]), "no connection: nothing listens there"),
        (ZeroDivisionError("x"), "no connection"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_the_cause_says_why_there_is_no_connection(cause: Exception, words: str) -> None:
    assert reason_of(from_cause(httpx.ConnectError("x"), from_cause(OSError("x"), cause))) == words


def test_a_general_class_yields_to_its_cause() -> None:
    refused = from_cause(requests.ConnectionError("x"), ConnectionRefusedError("x"))
    assert reason_of(refused) == "no connection: nothing listens there"
    broken = from_cause(requests.ConnectionError("x"), RemoteDisconnected("x"))
    assert reason_of(broken) == "the connection broke before the answer came"


def test_a_context_says_more_only_where_the_error_says_little() -> None:
    error = httpx.ReadError("x")
    error.__context__ = ConnectionRefusedError("x")
    assert reason_of(error) == "the connection broke before the answer was read"


def test_a_chain_without_an_end_ends() -> None:
    error, other = ZeroDivisionError("x"), ZeroDivisionError("x")
    error.__cause__, other.__cause__ = other, error
    assert reason_of(error) == "an unexpected ZeroDivisionError"


async def test_a_refused_connection_of_the_real_client() -> None:
    # A socket that is bound and does not listen refuses, and keeps its port from others.
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        async with httpx.AsyncClient(trust_env=False) as client:
            with pytest.raises(httpx.ConnectError) as raised:
                await client.get(f"http://127.0.0.1:{bound.getsockname()[1]}/")
    assert reason_of(raised.value) == "no connection: nothing listens there"
