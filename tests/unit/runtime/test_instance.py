"""A process serves one function, opened in one way."""

from __future__ import annotations

from typing import Any

import pytest

from runtime import scf
from runtime.wiring import open_services, open_webhook


def test_a_second_call_gets_the_instance_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scf._process, "instance", None)
    monkeypatch.setattr(scf._process, "opened", scf._process.opened)
    first = scf.instance("producer.webhook", open_webhook)
    assert scf.instance("producer.webhook", open_webhook) is first


@pytest.mark.parametrize(("service", "opener"), [("producer.sweep", open_webhook), ("producer.webhook", open_services)])
def test_an_instance_that_was_opened_otherwise_is_refused(
    monkeypatch: pytest.MonkeyPatch, service: str, opener: scf.Opener[Any]
) -> None:
    monkeypatch.setattr(scf._process, "instance", None)
    monkeypatch.setattr(scf._process, "opened", scf._process.opened)
    scf.instance("producer.webhook", open_webhook)
    with pytest.raises(RuntimeError, match=r"serves producer\.webhook .open_webhook. and cannot serve"):
        scf.instance(service, opener)
