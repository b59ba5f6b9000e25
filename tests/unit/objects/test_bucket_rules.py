"""Rules of the buckets: those that are compared, kept and written."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import messages.keys
from services.errors import CheckFailed
from services.objects.bucket.difference import Section, compare, describe, lost
from services.objects.bucket.rules import OURS, Keeping, Transition, cors_rules, data_rules, ledger_rules
from services.objects.bucket.setup import rule_checks, set_up
from tests.support.bucket_rules import MemoryRules, sound_buckets

KEPT_FOR_EVER = {"control/", "erased/", "output/"}
"""Prefixes without a rule by default."""

NAMES = st.sampled_from(("input", "staging", "output", "other"))
OWN = st.builds(
    lambda name, days: {
        "ID": OURS + name,
        "Filter": {"Prefix": f"{name}/"},
        "Status": "Enabled",
        "Expiration": {"Days": str(days)},
    },
    NAMES,
    st.integers(1, 40),
)
FOREIGN = st.builds(
    lambda name, days: {"ID": name, "Filter": None, "Status": "Disabled", "Transition": [{"Days": str(days)}]},
    st.text(max_size=5),
    st.integers(1, 40),
)


def test_every_prefix_of_the_keys_has_a_rule() -> None:
    written = set(re.findall(r"^([a-z]+/)", messages.keys.__doc__ or "", re.MULTILINE))
    written |= {messages.keys.spend_prefix("v", "d").split("/")[0] + "/"}
    assert len(written) >= 11
    keeping = Keeping()
    ruled = {rule.prefix for rule in (*data_rules(keeping), *ledger_rules(keeping))}
    assert written - ruled == KEPT_FOR_EVER


def test_the_settings_decide() -> None:
    keeping = Keeping(
        input_days=5, output_days=365, output_transitions=(Transition(30, "STANDARD_IA"),), ledger_days=500
    )
    data = {rule.name: describe(rule.document()) for rule in data_rules(keeping)}
    assert data == {
        "staging": "staging/: delete after 7 days",
        "input": "input/: delete after 5 days",
        "source": "source/: delete after 5 days",
        "output": "output/: to STANDARD_IA after 30 days, delete after 365 days",
        "parts": "all objects: abort unfinished uploads after 1 day",
    }
    assert {rule.name: rule.delete_days for rule in ledger_rules(keeping)} == {
        "ledger": 500,
        "index": 500,
        "dead": 500,
        "done": 500,
        "cache": 30,
        "spend": 3,
        "status": 1,
        "doctor": 1,
    }
    assert cors_rules(keeping) == []
    (rule,) = cors_rules(Keeping(origins=("https://shop.example",)))
    assert describe(rule.document()) == "PUT, GET, HEAD by pages of https://shop.example"


@given(st.lists(OWN | FOREIGN, max_size=6), st.lists(OWN, max_size=4, unique_by=lambda rule: rule["ID"]))
def test_after_the_write_nothing_is_different_and_others_are_as_they_were(stored: Any, wanted: Any) -> None:
    document = {"Rule": stored, "ResponseVary": "true"} if stored else {}
    found = compare(Section.LIFECYCLE, document, wanted)
    again = compare(Section.LIFECYCLE, found.document, wanted)
    assert again.changes == ()
    others = [rule for rule in stored if not rule["ID"].startswith(OURS)]
    assert [rule for rule in found.document["Rule"] if not rule["ID"].startswith(OURS)] == others
    assert found.kept == len(others)
    assert {rule["ID"]: rule for rule in found.document["Rule"] if rule["ID"].startswith(OURS)} == {
        rule["ID"]: rule for rule in wanted
    }
    if stored:
        assert found.document["ResponseVary"] == "true"


@given(st.lists(OWN, min_size=1, max_size=4, unique_by=lambda rule: rule["ID"]))
def test_what_xml_changes_is_no_difference(rules: Any) -> None:
    shown = [{**rule, "Transition": None, "Expiration": {"Days": int(rule["Expiration"]["Days"])}} for rule in rules]
    assert compare(Section.LIFECYCLE, {"Rule": shown}, rules).changes == ()


def test_a_rule_of_the_whole_bucket_is_equal_without_its_filter() -> None:
    rule = next(rule.document() for rule in data_rules(Keeping()) if not rule.prefix)
    for shown in (None, {"Prefix": None}, {}):
        assert compare(Section.LIFECYCLE, {"Rule": [{**rule, "Filter": shown}]}, [rule]).changes == ()


def test_a_rule_that_was_turned_off_is_different() -> None:
    rule = data_rules(Keeping())[0].document()
    (change,) = compare(Section.LIFECYCLE, {"Rule": [{**rule, "Status": "Disabled"}]}, [rule]).changes
    assert (change.what, change.stored) == ("different", "staging/: delete after 7 days (off)")


def run(work: Any) -> Any:
    return asyncio.run(work)


def test_a_sound_bucket_is_not_written() -> None:
    for bucket in sound_buckets(Keeping(origins=("https://shop.example",))):
        assert run(set_up(bucket, acts=True)).changes == ()
        assert isinstance(bucket.rules, MemoryRules)
        assert bucket.rules.written == []


def test_only_the_section_that_differs_is_written() -> None:
    data, _ = sound_buckets(Keeping(origins=("https://shop.example",)))
    assert isinstance(data.rules, MemoryRules)
    data.rules.stored[Section.CORS] = {}
    report = run(set_up(data, acts=False))
    assert [(change.rule, change.what) for change in report.changes] == [("scf-workers-browser", "missing")]
    assert data.rules.written == []
    assert run(set_up(data, acts=True)) == report
    assert data.rules.written == [Section.CORS]
    assert run(set_up(data, acts=True)).changes == ()


def test_the_doctor_names_each_rule() -> None:
    data, _ = sound_buckets()
    assert isinstance(data.rules, MemoryRules)
    (staging, given, *rest) = data.rules.stored[Section.LIFECYCLE]["Rule"]
    old = {**staging, "ID": "scf-workers-older"}
    changed = {**given, "Expiration": {"Days": "3"}}
    data.rules.stored[Section.LIFECYCLE] = {"Rule": [changed, old, *rest]}
    check, ledger = rule_checks(sound_buckets())
    assert (run(check.run()), run(ledger.run())) == ("4 rules", "8 rules")
    check, _ = rule_checks((data, sound_buckets()[1]))
    with pytest.raises(CheckFailed) as failed:
        run(check.run())
    text = str(failed.value)
    assert "scf-workers-staging is missing (staging/: delete after 7 days)" in text
    assert "scf-workers-input is different (input/: delete after 3 days, not input/: delete after 30 days)" in text
    assert "scf-workers-older is no longer wanted" in text
    assert failed.value.remedy == check.remedy == "scf-workers cos setup"


def test_a_store_that_forgets_the_rules_is_found() -> None:
    class Forgetful(MemoryRules):
        async def write(self, section: Section, document: Any) -> None:
            del section, document

    data, _ = sound_buckets()
    with pytest.raises(CheckFailed, match="after the write scf-workers-staging is missing"):
        run(set_up(msgspec.structs.replace(data, rules=Forgetful()), acts=True))


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"Rule": ()}, "reports (logs/: delete after 5 days) is not stored as it was"),
        ({"Rule": ({"Expiration": {"Days": "1"}},)}, "reports (logs/: delete after 5 days) is not stored as it was"),
        ({"ResponseVary": None}, "ResponseVary is not stored as it was"),
    ],
)
def test_a_store_that_forgets_what_others_set_is_found(changed: dict[str, Any], text: str) -> None:
    others = {"ID": "reports", "Filter": {"Prefix": "logs/"}, "Status": "Enabled", "Expiration": {"Days": "5"}}

    class Careless(MemoryRules):
        async def write(self, section: Section, document: Any) -> None:
            ours = [rule for rule in document["Rule"] if rule["ID"].startswith(OURS)]
            kept = [{**others, **change} for change in changed.get("Rule", ({},))]
            await super().write(section, {**document, **changed, "Rule": kept + ours})

    data, _ = sound_buckets()
    rules = Careless({Section.LIFECYCLE: {"Rule": [others], "ResponseVary": "true"}})
    with pytest.raises(CheckFailed, match=f"after the write {re.escape(text)}: does another program"):
        run(set_up(msgspec.structs.replace(data, rules=rules), acts=True))


@given(st.lists(OWN | FOREIGN, max_size=4), st.lists(OWN | FOREIGN, max_size=2))
def test_rules_that_came_besides_are_no_loss(written: Any, more: Any) -> None:
    document = {"Rule": written, "ResponseVary": "true"}
    assert lost(Section.LIFECYCLE, document, {**document, "Rule": [*more, *reversed(written)]}) == ()
    assert len(lost(Section.LIFECYCLE, document, {})) == len(written) + 1
