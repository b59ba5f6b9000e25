"""URLs that may be opened, and the addresses that they lead to; on a transport that only records."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence

import httpcore  # noqa: F401 - httpx would import it late, inside a running loop
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.errors import FetchFailed, FetchRefused, ResultUnusable
from services.fetch import Fetcher
from services.urls import HostRules, check_url

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
HOST = "results.example"
RULES = HostRules(frozenset({HOST, "*.cdn.example"}))


class Names:
    """A resolver with scripted answers."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers) or [["93.184.216.34"]]
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(f"{host}:{port}")
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Notes(httpx.AsyncBaseTransport):
    """Records requests and gives prepared answers, the last one again and again."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if not self.answers:
            return httpx.Response(200, stream=httpx.ByteStream(PNG), headers={"Content-Type": "image/png"})
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def fetcher(
    notes: Notes,
    names: Names | None = None,
    hosts: Sequence[str] = (HOST, "*.cdn.example"),
    private: Sequence[str] = (),
) -> Fetcher:
    return Fetcher(
        allowed_hosts=frozenset(hosts),
        allow_private=frozenset(private),
        max_bytes=1000,
        timeout=5.0,
        resolve=names or Names(),
        transport=lambda: notes,
    )


async def fetch(guard: Fetcher, url: str) -> bytes:
    try:
        async with guard.open(url) as fetched:
            return b"".join([piece async for piece in fetched])
    finally:
        await guard.close()


def moved(location: str, status: int = 302) -> httpx.Response:
    return httpx.Response(status, headers={"Location": location})


async def test_the_connection_goes_to_the_address_and_the_certificate_is_the_names() -> None:
    notes, names = Notes(), Names(["93.184.216.34"])
    assert await fetch(fetcher(notes, names), f"https://{HOST}/a/b%20c.png?sign=x%2Fy&z=1#part") == PNG
    (request,) = notes.requests
    assert request.url.host == "93.184.216.34"
    assert request.url.port is None
    assert request.url.raw_path == b"/a/b%20c.png?sign=x%2Fy&z=1"
    assert request.headers["Host"] == HOST
    assert request.extensions["sni_hostname"] == HOST
    assert "Authorization" not in request.headers
    assert names.asked == [f"{HOST}:443"]


@pytest.mark.parametrize(
    "url",
    [
        f"http://{HOST}/a.png",
        f"ftp://{HOST}/a.png",
        "file:///etc/passwd",
        f"//{HOST}/a.png",
        f"{HOST}/a.png",
        "",
        "https://",
        "https:///a.png",
        f"https://{HOST}:8443/a.png",
        f"https://{HOST}:80/a.png",
        f"https://{HOST}:99999/a.png",
        f"https://{HOST}:x/a.png",
        f"https://user@{HOST}/a.png",
        f"https://user:word@{HOST}/a.png",
        f"https://@{HOST}/a.png",
        "https://other.example/a.png",
        f"https://{HOST}.evil.example/a.png",
        f"https://evil{HOST}/a.png",
        f"https://{HOST}./a.png",
        "https://cdn.example/a.png",
        "https://evilcdn.example/a.png",
        "https://127.0.0.1/a.png",
        "https://[::1]/a.png",
        "https://2130706433/a.png",
        f"https://{HOST}\\@evil.example/",
        f"https://evil.example\\@{HOST}/",
        f"https://evil.example#@{HOST}/",
        f"https://{HOST}%00.evil.example/",
        f"https://{HOST}/a\r\nX: y",
        "https://rеsults.example/a.png",  # noqa: RUF001, RUF100 - a Cyrillic letter
        f"https://{HOST}/{'a' * 9000}",
        "https://[/a.png",
    ],
)
async def test_refused_without_a_single_request(url: str) -> None:
    notes, names = Notes(), Names()
    with pytest.raises(FetchRefused):
        await fetch(fetcher(notes, names), url)
    assert not notes.requests
    assert not names.asked


@pytest.mark.parametrize("host", [HOST, HOST.upper(), "a.cdn.example", "a.b.cdn.example"])
async def test_allowed_hosts(host: str) -> None:
    assert await fetch(fetcher(Notes()), f"https://{host}/a.png") == PNG


@pytest.mark.parametrize(
    ("reported", "sent"),
    [
        ("/a b.png", b"/a%20b.png"),
        ("/衣 01.png", b"/%E8%A1%A3%2001.png"),
        ("/a.png?name=衣 1&sign=x%2Fy", b"/a.png?name=%E8%A1%A3%201&sign=x%2Fy"),
        ("/a%20b%E8.png", b"/a%20b%E8.png"),
        ("/a.png ", b"/a.png"),
    ],
)
async def test_a_url_is_percent_encoded_where_it_is_not(reported: str, sent: bytes) -> None:
    notes = Notes()
    assert await fetch(fetcher(notes), f"https://{HOST}{reported}") == PNG
    assert [request.url.raw_path for request in notes.requests] == [sent]


@pytest.mark.parametrize(
    ("location", "sent"),
    [
        (b"/b c.png", b"/b%20c.png"),
        ("/衣.png".encode(), b"/%E8%A1%A3.png"),
        ("/衣.png".encode("gbk"), b"/%D2%C2.png"),
        (b"c d.png?e=f g", b"/c%20d.png?e=f%20g"),
    ],
)
async def test_a_location_is_percent_encoded_byte_by_byte(location: bytes, sent: bytes) -> None:
    notes = Notes(httpx.Response(302, headers=[(b"Location", location)]))
    assert await fetch(fetcher(notes), f"https://{HOST}/a.png") == PNG
    assert [request.url.raw_path for request in notes.requests] == [b"/a.png", sent]


@pytest.mark.parametrize("address", ["169.254.169.254", "169.254.0.23", "100.100.100.200", "224.0.0.1", "0.0.0.0"])  # noqa: S104 - refused
async def test_a_private_host_is_exempt_from_one_check_and_not_from_every_one(address: str) -> None:
    notes = Notes()
    guard = fetcher(notes, Names([address]), private=("cos.example:443",))
    with pytest.raises(ResultUnusable, match="not public"):
        await fetch(guard, "https://cos.example/a.png")
    assert not notes.requests


async def test_a_private_host_with_port_443_speaks_no_plain_http() -> None:
    with pytest.raises(FetchRefused, match="not https"):
        await fetch(fetcher(Notes(), private=("cos.example:443",)), "http://cos.example:443/a.png")


async def test_no_other_host_redirects_to_a_private_one() -> None:
    notes = Notes(moved("http://sandbox:9000/a.png"))
    with pytest.raises(ResultUnusable, match="private"):
        await fetch(fetcher(notes, private=("sandbox:9000",)), f"https://{HOST}/a.png")
    assert len(notes.requests) == 1


async def test_chunks_override_a_length_that_is_sent_beside_them() -> None:
    headers = {"Content-Length": "5", "Transfer-Encoding": "chunked"}
    answer = httpx.Response(200, headers=headers, stream=Crumbs(PNG, len(PNG)))
    assert await fetch(fetcher(Notes(answer)), f"https://{HOST}/a.png") == PNG


class Crumbs(httpx.AsyncByteStream):
    """A body whose pieces are available at once, however small."""

    def __init__(self, body: bytes, size: int = 1) -> None:
        self._body = body
        self._size = size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self._body), self._size):
            yield self._body[at : at + self._size]


async def test_a_body_of_crumbs_holds_up_nobody_and_keeps_its_time_limit() -> None:
    guard, turns = fetcher(Notes(httpx.Response(200, stream=Crumbs(PNG + bytes(800))))), 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    assert len(await fetch(guard, f"https://{HOST}/a.png")) == len(PNG) + 800
    beside.cancel()
    assert turns >= 800
    late = fetcher(Notes(httpx.Response(200, stream=Crumbs(PNG + bytes(800)))))
    with pytest.raises(FetchFailed, match="no time left"):
        async with late.open(f"https://{HOST}/a.png", total=0.0) as fetched:
            [piece async for piece in fetched]
    await late.close()


@pytest.mark.parametrize(("reported", "kept"), [("7", 7.0), ("120", 120.0), ("3600", 120.0), ("99999999999", 120.0)])
@pytest.mark.parametrize("status", [400, 503])
async def test_a_host_may_ask_for_a_wait_but_not_beyond_the_deadline(reported: str, kept: float, status: int) -> None:
    notes = Notes(httpx.Response(status, headers={"Retry-After": reported}))
    with pytest.raises((FetchFailed, ResultUnusable)) as caught:
        await fetch(fetcher(notes), f"https://{HOST}/a.png")
    assert caught.value.retry_after == kept


async def test_a_star_alone_allows_nothing() -> None:
    with pytest.raises(FetchRefused):
        await fetch(fetcher(Notes(), hosts=("*", "*.")), f"https://{HOST}/a.png")


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["93.184.216.34", "10.0.0.1"],
        ["169.254.169.254"],
        ["::1"],
        ["::ffff:93.184.216.34"],
        ["nonsense"],
    ],
)
async def test_a_name_with_an_address_that_is_not_public(addresses: list[str]) -> None:
    notes = Notes()
    with pytest.raises(ResultUnusable, match="not public"):
        await fetch(fetcher(notes, Names(addresses)), f"https://{HOST}/a.png")
    assert not notes.requests


async def test_a_name_that_changes_its_address_changes_nothing() -> None:
    # The name is resolved once, and the connection goes to the checked address.
    notes, names = Notes(), Names(["93.184.216.34"], ["127.0.0.1"])
    assert await fetch(fetcher(notes, names), f"https://{HOST}/a.png") == PNG
    assert [request.url.host for request in notes.requests] == ["93.184.216.34"]
    assert len(names.asked) == 1


async def test_a_name_that_changes_its_address_between_redirects_is_caught() -> None:
    notes, names = Notes(moved("/b.png")), Names(["93.184.216.34"], ["127.0.0.1"])
    with pytest.raises(ResultUnusable, match="not public"):
        await fetch(fetcher(notes, names), f"https://{HOST}/a.png")
    assert len(notes.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed_by_hand(status: int) -> None:
    notes = Notes(moved("b.png?x=1", status), moved("https://a.cdn.example/c.png", status))
    assert await fetch(fetcher(notes), f"https://{HOST}/a/a.png") == PNG
    reported = [(request.headers["Host"], request.url.raw_path) for request in notes.requests]
    assert reported == [(HOST, b"/a/a.png"), (HOST, b"/a/b.png?x=1"), ("a.cdn.example", b"/c.png")]


@pytest.mark.parametrize(
    "location",
    [
        "https://127.0.0.1/",
        "http://results.example/a.png",
        "//evil.example/a.png",
        "https://user@results.example/",
        "file:///etc/passwd",
        "https://results.example:22/",
        "",
        "/a\x01b",
        "https://[/",
    ],
)
async def test_a_redirect_is_checked_like_a_first_url(location: str) -> None:
    notes = Notes(moved(location))
    with pytest.raises(ResultUnusable):
        await fetch(fetcher(notes), f"https://{HOST}/a.png")
    assert len(notes.requests) == 1


async def test_three_redirects_and_no_more() -> None:
    three = [moved(f"/{n}") for n in range(3)]
    assert await fetch(fetcher(Notes(*three)), f"https://{HOST}/a.png") == PNG
    notes = Notes(*(moved(f"/{n}") for n in range(4)))
    with pytest.raises(ResultUnusable, match="too often"):
        await fetch(fetcher(notes), f"https://{HOST}/a.png")
    assert len(notes.requests) == 4


async def test_the_next_address_is_tried_v4_first() -> None:
    notes = Notes(httpx.ConnectError("no"), httpx.ConnectTimeout("no"))
    names = Names(["2606:4700::1", "93.184.216.34", "93.184.216.35", "93.184.216.34"])
    assert await fetch(fetcher(notes, names), f"https://{HOST}/a.png") == PNG
    assert [request.url.host for request in notes.requests] == ["93.184.216.34", "93.184.216.35", "2606:4700::1"]


async def test_no_address_answers() -> None:
    with pytest.raises(FetchFailed, match=r"results\.example: no connection"):
        await fetch(fetcher(Notes(httpx.ConnectError("no"))), f"https://{HOST}/a.png")


async def test_a_request_that_was_sent_is_not_sent_again() -> None:
    notes = Notes(httpx.ReadTimeout("late"))
    with pytest.raises(FetchFailed, match=r"results\.example: no answer in time"):
        await fetch(fetcher(notes, Names(["93.184.216.34", "93.184.216.35"])), f"https://{HOST}/a.png")
    assert len(notes.requests) == 1


async def test_a_name_without_an_address() -> None:
    class NoNames(Names):
        async def __call__(self, host: str, port: int) -> Sequence[str]:
            raise OSError("no such name")

    with pytest.raises(FetchFailed, match="does not resolve"):
        await fetch(fetcher(Notes(), NoNames()), f"https://{HOST}/a.png")
    with pytest.raises(FetchFailed):
        await fetch(fetcher(Notes(), Names([])), f"https://{HOST}/a.png")


async def test_a_pair_may_be_private_and_plain_and_nothing_else_may() -> None:
    notes = Notes()
    guard = fetcher(notes, Names(["127.0.0.1"]), private=("sandbox:9000", "cos.example:443"))
    async with guard.open("http://sandbox:9000/a.png") as fetched:
        assert fetched.content_type == "image/png"
    async with guard.open("https://cos.example/a.png"):
        pass
    for url in ("http://sandbox:9001/", "http://sandbox/", "https://sandbox/", "http://cos.example/", "http://x:9000/"):
        with pytest.raises(FetchRefused):
            async with guard.open(url):
                pass
    await guard.close()
    assert [request.headers["Host"] for request in notes.requests] == ["sandbox:9000", "cos.example"]
    assert [str(request.url) for request in notes.requests] == [
        "http://127.0.0.1:9000/a.png",
        "https://127.0.0.1/a.png",
    ]


async def test_a_private_pair_does_not_open_private_addresses_to_other_names() -> None:
    notes = Notes(moved(f"https://{HOST}/a.png"))
    guard = fetcher(notes, Names(["127.0.0.1"]), private=("sandbox:9000",))
    with pytest.raises(ResultUnusable, match="not public"):
        await fetch(guard, "http://sandbox:9000/a.png")


async def test_neither_logs_nor_errors_hold_the_url(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    url = f"https://{HOST}/secret-path?sign=secret-sign"
    said = ""
    for answer in (httpx.Response(403), httpx.Response(500), httpx.ReadError("cut"), moved("http://x/"), moved("")):
        with pytest.raises((FetchFailed, ResultUnusable)) as caught:
            await fetch(fetcher(Notes(answer)), url)
        said += str(caught.value) + str(caught.value.__cause__)
    with pytest.raises(FetchRefused) as refused:
        await fetch(fetcher(Notes()), "https://other.example/secret-path?sign=secret-sign")
    assert "secret" not in caplog.text + said + str(refused.value)


PARTS = st.tuples(
    st.sampled_from(["https://", "HTTPS://", "http://", "https:/", "https:\\\\", ""]),
    st.sampled_from(["", "", "", "user@", "a:b@", "evil.example\\@", "evil.example#@", "evil.example/@"]),
    st.sampled_from([HOST, HOST.upper(), "x.cdn.example", "cdn.example", "evil.example", "127.0.0.1", "[::1]", ""]),
    st.sampled_from(["", "", "", ".", ".evil.example", "%2eevil.example", "@evil.example", "\\.evil.example"]),
    st.sampled_from(["", "", ":443", ":80", ":", ":0443", ":x", ":-1"]),
    st.sampled_from(["", "/", "/a.png?x=1", "?@evil.example", "#@evil.example", "/..//b", "//evil.example"]),
).map("".join)


@settings(max_examples=500, deadline=None)
@given(url=PARTS | st.text(max_size=60))
def test_any_text_is_refused_or_read_as_other_parsers_read_it(url: str) -> None:
    try:
        target = check_url(url, RULES)
    except FetchRefused:
        return
    other = httpx.URL(url.strip(" "))
    assert (target.scheme, target.port) == ("https", 443)
    assert target.host == other.host
    assert target.host == HOST or target.host.endswith(".cdn.example")
    assert not other.userinfo
