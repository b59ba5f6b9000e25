from __future__ import annotations

import copy
import pickle

import msgspec
import pytest

from telemetry.secrets import Secret


class Settings(msgspec.Struct, frozen=True):
    key: Secret
    other: Secret | None = None


@pytest.mark.parametrize(
    "shown",
    [
        repr(Secret("hunter2-hunter2")),
        str(Secret("hunter2-hunter2")),
        f"{Secret('hunter2-hunter2')}",
        f"{Secret('hunter2-hunter2'):>40}",
        f"{Secret('hunter2-hunter2')!r}",
        "%s %r" % (Secret("hunter2-hunter2"), [Secret("hunter2-hunter2")]),  # noqa: UP031 - this way of showing too
        repr(Settings(Secret("hunter2-hunter2"))),
    ],
)
def test_a_secret_is_never_shown(shown: str) -> None:
    assert "hunter2" not in shown
    assert "***" in shown


def test_only_reveal_gives_the_value() -> None:
    assert Secret("hunter2").reveal() == "hunter2"


def test_secrets_are_equal_by_value_and_never_equal_to_text() -> None:
    assert Secret("a") == Secret("a")
    assert hash(Secret("a")) == hash(Secret("a"))
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"


def test_an_empty_secret_is_falsy() -> None:
    assert not Secret("")
    assert Secret("x")


def test_a_secret_does_not_change() -> None:
    secret = Secret("a")
    with pytest.raises(AttributeError):
        secret._value = "b"
    with pytest.raises(AttributeError):
        del secret._value
    assert copy.deepcopy({"s": secret})["s"] is secret
    assert copy.copy(secret) is secret


def test_a_secret_does_not_leave_the_process() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Secret("a"))
    with pytest.raises(TypeError):
        msgspec.json.encode(Settings(Secret("a")))
