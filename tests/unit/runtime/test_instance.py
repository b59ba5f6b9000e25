"""A process serves one function, opened in one way."""

from __future__ import annotations

import pytest

from runtime import scf


def test_a_second_call_gets_the_instance_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scf._process, "instance", None)
    monkeypatch.setattr(scf._process, "opened", scf._process.opened)
    first = scf.instance("producer.webhook", tickets=True)
    assert scf.instance("producer.webhook", tickets=True) is first


@pytest.mark.parametrize(
    ("service", "flags"),
    [
        ("producer.sweep", {"tickets": True}),
        ("producer.webhook", {"vendors": True, "tickets": True}),
        ("producer.webhook", {}),
    ],
)
def test_an_instance_that_was_opened_otherwise_is_refused(
    monkeypatch: pytest.MonkeyPatch, service: str, flags: dict[str, bool]
) -> None:
    monkeypatch.setattr(scf._process, "instance", None)
    monkeypatch.setattr(scf._process, "opened", scf._process.opened)
    scf.instance("producer.webhook", tickets=True)
    with pytest.raises(
        RuntimeError, match=r"serves producer\.webhook .vendors=False, tickets=True, webhooks=False. and cannot serve"
    ):
        scf.instance(service, **flags)
