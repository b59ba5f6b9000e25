"""The audit of texts, on every store."""

from __future__ import annotations

from typing import Any

import pytest

from services.errors import AuditDown


async def test_a_text_is_judged_by_its_words(harness: Any) -> None:
    clean = await harness.objects.audit_text("一件白色连衣裙，自然光")
    assert (clean.violation, clean.suspect, clean.label, clean.score) == (False, False, "Normal", 0)
    blocked = await harness.objects.audit_text("夏日海滩 Violation")
    assert (blocked.violation, blocked.suspect, blocked.label) == (True, False, "Porn")
    suspect = await harness.objects.audit_text("suspect")
    assert (suspect.violation, suspect.suspect) == (False, True)
    assert blocked.score > suspect.score > clean.score


async def test_an_empty_text_is_clean(harness: Any) -> None:
    assert not (await harness.objects.audit_text("")).violation


@pytest.mark.parametrize(
    "text", ["\x00\x01 ]]> <Request>&amp;", "👗" * 100, "\ud800 half of a pair", "  \n ", "长" * 10_000]
)
async def test_any_text_is_carried(text: str, harness: Any) -> None:
    assert not (await harness.objects.audit_text(text)).violation


async def test_a_text_of_more_than_ten_thousand_characters_is_not_sent(harness: Any) -> None:
    with pytest.raises(ValueError, match="10000"):
        await harness.objects.audit_text("x" * 10_001)


async def test_an_audit_that_is_away_is_no_pass(cos_world: Any) -> None:
    cos_world.cut_text_audit()
    with pytest.raises(Exception, match="audit_text") as caught:
        await cos_world.objects.audit_text("x")
    assert not isinstance(caught.value, AuditDown), "the store is down, not the audit alone"
