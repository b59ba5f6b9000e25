"""URLs of inputs in requests: a form that must not be fetched is refused before anything is sold."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from services.errors import FetchRefused
from services.urls import HostRules, check_url

if TYPE_CHECKING:
    from tests.api.conftest import Open

REFUSED = [
    "http://pictures.example/a.jpg",
    "ftp://pictures.example/a.jpg",
    "file:///etc/passwd",
    "gopher://pictures.example/",
    "https://",
    "https:///a.jpg",
    "https://user@pictures.example/a.jpg",
    "https://user:password@pictures.example/a.jpg",
    "https://pictures.example:8443/a.jpg",
    "https://pictures.example:22/a.jpg",
    "https://pictures.example\\@127.0.0.1/a.jpg",
    "https://pictures.example/a\nb.jpg",
    "https://127.0.0.1/a.jpg",
    "https://127.1/a.jpg",
    "https://2130706433/a.jpg",
    "https://0x7f000001/a.jpg",
    "https://0177.0.0.1/a.jpg",
    "https://0x7f.1/a.jpg",
    "https://0/a.jpg",
    "https://10.0.0.1/a.jpg",
    "https://172.16.0.1/a.jpg",
    "https://192.168.1.1/a.jpg",
    "https://100.64.0.1/a.jpg",
    "https://169.254.169.254/latest/meta-data/",
    "https://169.254.0.23/",
    "https://0xa9fea9fe/",
    "https://2852039166/",
    "https://0251.0376.0251.0376/",
    "https://100.100.100.200/",
    "https://255.255.255.255/",
    "https://224.0.0.1/",
    "https://[::1]/a.jpg",
    "https://[::]/a.jpg",
    "https://[::ffff:127.0.0.1]/a.jpg",
    "https://[::ffff:93.184.216.34]/a.jpg",
    "https://[fe80::1]/a.jpg",
    "https://[fc00::1]/a.jpg",
    "https://[fd00:ec2::254]/",
    "https://[64:ff9b::7f00:1]/a.jpg",
    "https://[2002:7f00:1::]/a.jpg",
    "https://[::1%25eth0]/a.jpg",
    "https://127.0.0.1./a.jpg",
    "https://localhost/a.jpg",
    "https://LOCALHOST./a.jpg",
    "https://a.localhost/a.jpg",
    "https://backend/a.jpg",
    "https://printer.local/a.jpg",
    "https://metadata.google.internal/",
    "https://metadata.tencentyun.com/latest/meta-data/",
    "https://METADATA.tencentyun.com./",
    "https://router.home.arpa/a.jpg",
    "https://256.256.256.256/a.jpg",
    "https://1.2.3.4.5/a.jpg",
    "https://a..example/a.jpg",
    "https://.example.com/a.jpg",
    f"https://{'a' * 64}.example.com/a.jpg",
    f"https://{'.'.join(['a'] * 128)}/a.jpg",
    "https://[v1.pictures.example]/a.jpg",
    "https://pictures%2eexample/a.jpg",
    "https://１２７.0.0.1/a.jpg",
    "https://ⓛocalhost.example/a.jpg",
]


@pytest.mark.parametrize("url", REFUSED)
async def test_it_is_refused_with_the_fields_name_and_nothing_is_sold(door: Open, url: str) -> None:
    async with door() as here:
        answer = await here.create(inputs=["https://pictures.example/fine.jpg", url])
        assert (answer.status_code, answer.json()["field"], answer.json()["code"]) == (
            422,
            "inputs[1]",
            "bad_parameters",
        )
        assert (await here.account())["tasks"] == []


@pytest.mark.parametrize(
    "url",
    [
        "https://pictures.example/a.jpg?x=1",
        "https://93.184.216.34/a.jpg",
        "https://pictures.example:443/",
        "https://local.example./a.jpg",
    ],
)
def test_a_public_one_is_fine(url: str) -> None:
    target = check_url(url, HostRules(frozenset(), any_public=True))
    assert (target.host, target.port, target.private) == (urlsplit(url).hostname, 443, False)
    with pytest.raises(FetchRefused):
        check_url(url, HostRules(frozenset()))


def test_a_deployment_may_name_the_hosts() -> None:
    rules = HostRules(frozenset({"pictures.example", "*.cdn.example", "pictures.internal"}))
    for url in ("https://pictures.example/a", "https://pictures.internal/a", "https://x.cdn.example/a"):
        check_url(url, rules)
    for url in ("https://other.example/a", "https://cdn.example/a", "https://93.184.216.34/a"):
        with pytest.raises(FetchRefused):
            check_url(url, rules)
