"""Who is let in, and what is said when somebody is not."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final

import pytest

from console.processes.handlers import HANDLERS
from runtime.settings import load_settings
from runtime.wiring import broker_options
from sandbox.environment import Sandbox
from sandbox.pulsar import LocalPulsar
from tasks.topics import DEAD_LETTER_TOPICS, WORK_TOPICS
from telemetry.events import Event
from tests.conformance.brokers.helpers import eventually, finish, within
from tests.pulsar.conftest import Opener
from tests.support.patience import PATIENCE_S
from tests.support.pulsar_part import ROOT
from transport import open_broker
from transport.errors import BrokerDown, BrokerUnauthorized
from transport.pulsar import PulsarBroker, PulsarOptions

pytestmark = pytest.mark.own_pulsar


async def works(broker: PulsarBroker) -> None:
    consumer = await broker.subscribe(["wake"], "workers")
    sent = await broker.publish("wake", b"x")
    assert [delivery.message_id for delivery in await finish(consumer, 1)] == [sent]


async def test_tls_is_verified_with_the_authority_given(own: LocalPulsar, opened: Opener) -> None:
    async with opened(url=own.tls_url, tls_ca=str(own.certificate)) as broker:
        await works(broker)


async def test_tls_without_that_authority_is_refused(own: LocalPulsar, opened: Opener) -> None:
    with pytest.raises(BrokerDown, match=r"is not trusted.*BROKER_TLS_CA"):
        async with opened(url=own.tls_url):
            pass


async def test_plain_words_to_a_tls_port_and_tls_to_a_plain_one_are_told_apart_from_a_token(
    own: LocalPulsar, opened: Opener
) -> None:
    for url in (own.tls_url.replace("+ssl", ""), own.url.replace("pulsar:", "pulsar+ssl:")):
        with pytest.raises(BrokerDown) as caught:
            async with opened(url=url, tls_ca=str(own.certificate)):
                pass
        assert not isinstance(caught.value, BrokerUnauthorized)


async def test_lookups_may_go_over_http_as_on_tdmq(own: LocalPulsar, opened: Opener) -> None:
    async with opened(url=own.admin_url) as broker:
        await works(broker)


BAD_TOKENS: Final[dict[str, Callable[[LocalPulsar], str]]] = {
    "none": lambda _: "",
    "forged": lambda own: own.token().rpartition(".")[0] + "." + "A" * 43,
    "expired": lambda own: own.token(exp=int(time.time()) - 3600),
    "no token at all": lambda _: "planted-secret",
}


@pytest.fixture(params=BAD_TOKENS)
def bad_token(request: pytest.FixtureRequest, own: LocalPulsar) -> str:
    return BAD_TOKENS[request.param](own)


async def test_a_bad_token_is_known_at_once_for_what_it_is(own: LocalPulsar, bad_token: str) -> None:
    for url in (own.url, own.admin_url):
        started = time.monotonic()
        await (await open_broker(PulsarOptions(url=url, token=own.token))).close()
        opened = time.monotonic()
        with pytest.raises(BrokerUnauthorized, match="rejects the token in BROKER_TOKEN") as caught:
            await open_broker(PulsarOptions(url=url, token=(lambda: bad_token) if bad_token else None))
        # The client's own time-out, behind which it hides what is wrong with a token, was not waited for.
        assert time.monotonic() - opened < opened - started + PulsarOptions(url=url).operation_timeout
        assert not bad_token or bad_token not in str(caught.value)


async def test_a_broker_that_is_not_there_is_no_matter_of_tokens(opened: Opener) -> None:
    with pytest.raises(BrokerDown) as caught:
        async with opened(url="pulsar://127.0.0.1:1"):
            pass
    assert not isinstance(caught.value, BrokerUnauthorized)


@pytest.fixture
def stranger(own: LocalPulsar) -> str:
    """A token of a role that nobody gave any right."""
    return own.token(f"stranger-{secrets.token_hex(4)}")


async def test_a_role_without_rights_is_refused_where_it_acts(opened: Opener, stranger: str) -> None:
    async with opened(token=lambda: stranger) as broker:
        with pytest.raises(BrokerUnauthorized, match="right"):
            await within(broker.publish("wake", b"x"))
        with pytest.raises(BrokerUnauthorized, match="right"):
            await within(broker.subscribe(["wake"], "workers"))
        with pytest.raises(BrokerUnauthorized):
            await within(broker.backlog("wake", "workers"))


@pytest.fixture
def producer(own: LocalPulsar, namespace: str) -> str:
    """A token of a role that may publish only."""
    grant = f"/admin/v2/namespaces/public/{namespace}/permissions/producer"
    assert own.ask("POST", grant, b'["produce"]') == HTTPStatus.NO_CONTENT
    return own.token("producer")


async def test_a_role_that_may_publish_only_publishes_and_says_what_it_could_not_make_sure_of(
    opened: Opener, producer: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(token=lambda: producer, admin_url="") as broker:
        assert await within(broker.publish("wake", b"x"))
    assert Event.SUBSCRIPTION_UNVERIFIED.value in [record.getMessage() for record in caplog.records]


@pytest.fixture
def short_lived(own: LocalPulsar) -> Callable[[], str]:
    """Gives tokens that live for one to two seconds: the broker counts in whole ones."""
    own.token()
    return lambda: own.token(exp=int(time.time()) + 2)


async def test_a_token_that_runs_out_is_asked_for_anew(opened: Opener, short_lived: Callable[[], str]) -> None:
    given: list[float] = []

    def fresh() -> str:
        given.append(time.time())
        return short_lived()

    async with opened(token=fresh) as broker:
        before = len(given)
        consumer = await broker.subscribe(["wake"], "workers")

        async def renewed() -> bool:
            await broker.publish("wake", b"x")
            await finish(consumer, 1)
            return len(given) >= before + 2

        await eventually(renewed)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox(tmp_path_factory.mktemp("world"), HANDLERS, webhook=False) as started:
        yield started


def doctor(world: Sandbox, own: LocalPulsar, **environ: str) -> tuple[int, dict[str, Mapping[str, str]], str]:
    """What the command says: exit status, finding by finding, everything printed."""
    done = subprocess.run(
        [sys.executable, "-m", "console", "doctor", "--json"],
        cwd=ROOT,
        env={**world.environ, "BROKER_URL": own.url, "BROKER_ADMIN_URL": own.admin_url, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    found = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    return done.returncode, found, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("none", "rejects the token in BROKER_TOKEN (authentication, "),
        ("forged", "rejects the token in BROKER_TOKEN (authentication, "),
        ("expired", "rejects the token in BROKER_TOKEN (authentication, "),
        ("no token at all", "rejects the token in BROKER_TOKEN (authentication, "),
        ("stranger", "grant this token's role the right to produce and consume in this namespace"),
    ],
)
def test_the_doctor_tells_what_is_wrong_with_a_token_and_examines_the_rest(
    world: Sandbox, own: LocalPulsar, stranger: str, token: str, said: str
) -> None:
    bad = stranger if token == "stranger" else BAD_TOKENS[token](own)
    status, found, printed = doctor(world, own, BROKER_TOKEN=bad)
    assert status == 1
    assert said in found["broker"]["detail"]
    assert found["broker"]["detail"].startswith("BrokerUnauthorized")
    assert "BROKER_TOKEN" in found["broker"]["remedy"]
    bad_ones = {name for name, finding in found.items() if not finding["ok"]}
    assert bad_ones == {"broker"} if token != "stranger" else {"broker", "topics", "backlog"}
    assert found["data bucket"]["ok"]
    assert not bad or bad not in printed


def test_the_doctor_is_content_with_a_good_token(world: Sandbox, own: LocalPulsar, namespace: str) -> None:
    status, found, _ = doctor(world, own, BROKER_TOKEN=own.token(), BROKER_NAMESPACE=namespace)
    assert [name for name, finding in found.items() if not finding["ok"]] == []
    assert status == 0
    assert own.ask("GET", f"/admin/v2/persistent/public/{namespace}/notify-workers-DLQ/stats") == HTTPStatus.OK


def test_the_doctor_names_a_topic_that_nobody_made(world: Sandbox, own: LocalPulsar, namespace: str) -> None:
    # As on TDMQ, where topics are made beforehand.
    path = f"/admin/v2/namespaces/public/{namespace}/autoTopicCreation"
    assert own.ask("POST", path, b'{"allowAutoTopicCreation": false}') == HTTPStatus.NO_CONTENT
    missing = "poll-workers-DLQ"
    for topic in (*WORK_TOPICS, *DEAD_LETTER_TOPICS, "doctor"):
        if topic != missing:
            made = own.ask("PUT", f"/admin/v2/persistent/public/{namespace}/{topic}")
            assert made == HTTPStatus.NO_CONTENT
    status, found, _ = doctor(world, own, BROKER_TOKEN=own.token(), BROKER_NAMESPACE=namespace)
    assert status == 1
    assert [name for name, finding in found.items() if not finding["ok"]] == ["topics"]
    assert f"{missing}: the topic is not there" in found["topics"]["detail"]


def test_the_token_of_the_settings_is_read_from_its_file_whenever_it_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "token"
    environ = {"BROKER_URL": "pulsar://127.0.0.1:6650", "BROKER_TOKEN_FILE": str(file)}
    file.write_text("first-token\n", encoding="utf-8")
    options = broker_options(load_settings(environ), lambda: environ)
    assert isinstance(options, PulsarOptions)
    token = options.token
    assert token is not None
    assert token() == "first-token"
    file.write_text("second-token\n", encoding="utf-8")
    assert token() == "second-token"
    without = broker_options(load_settings({"BROKER_URL": environ["BROKER_URL"]}), dict)
    assert isinstance(without, PulsarOptions)
    assert without.token is None
