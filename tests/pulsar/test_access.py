"""Access: TLS, tokens and roles, and the errors for each fault."""

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

from console.cli.cos.work import set_up_buckets
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


async def test_tls_is_verified_with_the_given_authority(own: LocalPulsar, opened: Opener) -> None:
    async with opened(url=own.tls_url, tls_ca=str(own.certificate)) as broker:
        await works(broker)


async def test_tls_without_that_authority_fails(own: LocalPulsar, opened: Opener) -> None:
    with pytest.raises(BrokerDown, match=r"is not trusted.*BROKER_TLS_CA"):
        async with opened(url=own.tls_url):
            pass


async def test_tls_on_one_side_only_is_not_reported_as_a_token_error(own: LocalPulsar, opened: Opener) -> None:
    for url in (own.tls_url.replace("+ssl", ""), own.url.replace("pulsar:", "pulsar+ssl:")):
        with pytest.raises(BrokerDown) as caught:
            async with opened(url=url, tls_ca=str(own.certificate)):
                pass
        assert not isinstance(caught.value, BrokerUnauthorized)


async def test_lookups_may_use_http_as_on_tdmq(own: LocalPulsar, opened: Opener) -> None:
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


async def test_a_bad_token_is_reported_at_once(own: LocalPulsar, bad_token: str) -> None:
    for url in (own.url, own.admin_url):
        started = time.monotonic()
        await (await open_broker(PulsarOptions(url=url, token=own.token))).close()
        opened = time.monotonic()
        with pytest.raises(BrokerUnauthorized, match="rejects the token in BROKER_TOKEN") as caught:
            await open_broker(PulsarOptions(url=url, token=(lambda: bad_token) if bad_token else None))
        # Reported before the client's own time-out, which would hide what is wrong with the token.
        assert time.monotonic() - opened < opened - started + PulsarOptions(url=url).operation_timeout
        assert not bad_token or bad_token not in str(caught.value)


async def test_a_missing_broker_is_not_reported_as_a_token_error(opened: Opener) -> None:
    with pytest.raises(BrokerDown) as caught:
        async with opened(url="pulsar://127.0.0.1:1"):
            pass
    assert not isinstance(caught.value, BrokerUnauthorized)


@pytest.fixture
def stranger(own: LocalPulsar) -> str:
    """A token of a role without any right."""
    return own.token(f"stranger-{secrets.token_hex(4)}")


async def test_a_role_without_rights_is_rejected_at_its_first_operation(opened: Opener, stranger: str) -> None:
    async with opened(token=lambda: stranger) as broker:
        with pytest.raises(BrokerUnauthorized, match="right"):
            await within(broker.publish("wake", b"x"))
        with pytest.raises(BrokerUnauthorized, match="right"):
            await within(broker.subscribe(["wake"], "workers"))
        with pytest.raises(BrokerUnauthorized):
            await within(broker.backlog("wake", "workers"))


@pytest.fixture
def producer(own: LocalPulsar, namespace: str) -> str:
    """A token of a role that may only publish."""
    grant = f"/admin/v2/namespaces/public/{namespace}/permissions/producer"
    assert own.ask("POST", grant, b'["produce"]') == HTTPStatus.NO_CONTENT
    return own.token("producer")


async def test_a_role_that_may_only_publish_does_so_and_reports_the_unverified_subscription(
    opened: Opener, producer: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(token=lambda: producer, admin_url="") as broker:
        assert await within(broker.publish("wake", b"x"))
    assert Event.SUBSCRIPTION_UNVERIFIED.value in [record.getMessage() for record in caplog.records]


@pytest.fixture
def short_lived(own: LocalPulsar) -> Callable[[], str]:
    """Return tokens that are valid for one to two seconds; the broker counts whole seconds."""
    own.token()
    return lambda: own.token(exp=int(time.time()) + 2)


async def test_an_expired_token_is_requested_again(opened: Opener, short_lived: Callable[[], str]) -> None:
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
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox(tmp_path_factory.mktemp("sandbox"), HANDLERS, webhook=False) as started:
        set_up_buckets(started.environ)
        yield started


def doctor(sandbox: Sandbox, own: LocalPulsar, **environ: str) -> tuple[int, dict[str, Mapping[str, str]], str]:
    """Run the command; return its exit status, its findings and its output."""
    done = subprocess.run(
        [sys.executable, "-m", "console", "doctor", "--json"],
        cwd=ROOT,
        env={**sandbox.environ, "BROKER_URL": own.url, "BROKER_ADMIN_URL": own.admin_url, **environ},
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
def test_the_doctor_reports_what_is_wrong_with_a_token_and_runs_the_other_checks(
    sandbox: Sandbox, own: LocalPulsar, stranger: str, token: str, said: str
) -> None:
    bad = stranger if token == "stranger" else BAD_TOKENS[token](own)
    status, found, printed = doctor(sandbox, own, BROKER_TOKEN=bad)
    assert status == 1
    assert said in found["broker"]["detail"]
    assert "BrokerUnauthorized" not in found["broker"]["detail"], "class names are for logs"
    assert "BROKER_TOKEN" in found["broker"]["remedy"]
    bad_ones = {name for name, finding in found.items() if not finding["ok"]}
    assert bad_ones == {"broker"} if token != "stranger" else {"broker", "topics", "backlog"}
    assert found["data bucket"]["ok"]
    assert not bad or bad not in printed


def test_the_doctor_accepts_a_valid_token(sandbox: Sandbox, own: LocalPulsar, namespace: str) -> None:
    status, found, _ = doctor(sandbox, own, BROKER_TOKEN=own.token(), BROKER_NAMESPACE=namespace)
    assert [name for name, finding in found.items() if not finding["ok"]] == []
    assert status == 0
    assert own.ask("GET", f"/admin/v2/persistent/public/{namespace}/notify-workers-DLQ/stats") == HTTPStatus.OK


def test_the_doctor_names_a_missing_topic(sandbox: Sandbox, own: LocalPulsar, namespace: str) -> None:
    # As on TDMQ, where topics must be created first.
    path = f"/admin/v2/namespaces/public/{namespace}/autoTopicCreation"
    assert own.ask("POST", path, b'{"allowAutoTopicCreation": false}') == HTTPStatus.NO_CONTENT
    missing = "poll-workers-DLQ"
    for topic in (*WORK_TOPICS, *DEAD_LETTER_TOPICS, "doctor"):
        if topic != missing:
            made = own.ask("PUT", f"/admin/v2/persistent/public/{namespace}/{topic}")
            assert made == HTTPStatus.NO_CONTENT
    status, found, _ = doctor(sandbox, own, BROKER_TOKEN=own.token(), BROKER_NAMESPACE=namespace)
    assert status == 1
    assert [name for name, finding in found.items() if finding["ok"] is False] == ["topics"]
    assert found["backlog"]["ok"] is None
    assert f"{missing}: the topic does not exist" in found["topics"]["detail"]


def test_the_token_is_read_from_its_file_at_each_use(tmp_path: Path) -> None:
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
