"""Several keys of a vendor, by label: from the settings to one client for each."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.table import RECIPES
from runtime.errors import BadSettings
from runtime.settings import Settings, load_settings
from runtime.vendor_keys import draining_of, keys_of, share_of
from runtime.vendors import limits, open_vendors, vendor_checks
from services.vendors.port import VendorKey, key_of
from services.vendors.registry import Vendors
from telemetry.redaction import redact_text

ONE, TWO, THREE = (f"a-key-of-account-{word}" for word in ("one", "two", "three"))
WORKFLOWS = str(Path(__file__).parents[3] / "sandbox/workflows")
SEVERAL = {
    "RUNNINGHUB_API_KEY": ONE,
    "RUNNINGHUB_API_KEYS": f"second={TWO}, third={THREE}",
    "RUNNINGHUB_WORKFLOWS": WORKFLOWS,
}


def test_the_single_key_comes_first_with_its_label() -> None:
    keys = keys_of(load_settings(SEVERAL), "runninghub")
    assert [(key.label, key.secret.reveal()) for key in keys] == [("main", ONE), ("second", TWO), ("third", THREE)]


def test_there_may_be_no_single_key_and_a_key_may_hold_an_equals_sign() -> None:
    keys = keys_of(load_settings({"RUNNINGHUB_API_KEYS": f"a={TWO}==\nb={THREE}"}), "runninghub")
    assert [(key.label, key.secret.reveal()) for key in keys] == [("a", f"{TWO}=="), ("b", THREE)]


def test_each_key_opens_a_client_and_gets_a_check_of_its_own() -> None:
    settings = load_settings(SEVERAL)
    clients = open_vendors(settings, RECIPES)
    assert [key_of(client) for client in clients] == [
        VendorKey("runninghub", label) for label in ("main", "second", "third")
    ]
    names = [check.name for check in vendor_checks(settings, Vendors(clients), {})]
    assert names == ["runninghub main", "runninghub second", "runninghub third"]
    assert [check.name for check in vendor_checks(settings, Vendors(clients[:1]), {})] == ["runninghub"]


def test_every_key_is_masked_by_itself() -> None:
    load_settings(SEVERAL)
    assert not {TWO, THREE} & set(redact_text(f"Authorization: Bearer {TWO} and then {THREE}").split())


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"RUNNINGHUB_API_KEYS": TWO}, "entry 1 of RUNNINGHUB_API_KEYS must be label=key"),
        ({"RUNNINGHUB_API_KEYS": f"Second={TWO}"}, "entry 1 of RUNNINGHUB_API_KEYS must be label=key"),
        ({"RUNNINGHUB_API_KEYS": f"a={TWO},b="}, "entry 2 of RUNNINGHUB_API_KEYS must be label=key"),
        ({"RUNNINGHUB_API_KEYS": f"a={TWO},a={THREE}"}, "the label 'a' twice"),
        ({"RUNNINGHUB_API_KEYS": f"main={TWO}", "RUNNINGHUB_API_KEY": ONE}, "the label 'main' twice"),
        ({"RUNNINGHUB_API_KEYS": f"a={TWO}", "RUNNINGHUB_DRAINING": "b"}, "RUNNINGHUB_DRAINING names 'b'"),
        ({"RUNNINGHUB_DRAINING": "Two Words"}, "RUNNINGHUB_DRAINING must be labels of keys"),
        ({"RUNNINGHUB_API_KEYS": f"a={TWO}", "RUNNINGHUB_API_KEY": TWO}, "have the same value"),
        ({"RUNNINGHUB_API_KEYS": "a=short"}, r"RUNNINGHUB_API_KEYS \(a\) cannot be used"),
        ({"VENDOR_PROCESSES": "0"}, "VENDOR_PROCESSES must be a whole number from 1"),
    ],
)
def test_what_cannot_be_used_is_refused_without_a_key_in_the_text(variables: dict[str, str], said: str) -> None:
    with pytest.raises(BadSettings, match=said) as caught:
        load_settings(variables)
    assert not any(key in str(caught.value) for key in (ONE, TWO, THREE))


def test_draining_labels_name_keys() -> None:
    settings = load_settings({**SEVERAL, "RUNNINGHUB_DRAINING": "main, third"})
    draining = draining_of(settings)
    assert draining == {VendorKey("runninghub", "main"), VendorKey("runninghub", "third")}
    vendors = Vendors(open_vendors(settings, RECIPES), draining=draining, shares={"runninghub": 2})
    assert vendors.keys("runninghub") == (VendorKey("runninghub", "second"),)
    assert set(vendors.draining("runninghub")) == draining
    assert vendors.permits("runninghub") == 2
    assert vendors.names == ("runninghub",)
    found = vendors.of("runninghub", "third")
    assert found is not None
    assert found.label == "third"
    assert vendors.of("runninghub", "gone") is None


@given(limit=st.integers(1, 1000), processes=st.integers(1, 1000))
def test_shares_are_whole_and_at_least_one(limit: int, processes: int) -> None:
    share = share_of(Settings(runninghub_limit=limit, vendor_processes=processes), "runninghub")
    assert share is not None
    assert share == 1 or share * processes <= limit


def test_without_a_limit_there_is_no_share() -> None:
    assert limits(Settings()) == {}
    assert limits(Settings(runninghub_limit=3, ark_limit=5, vendor_processes=2)) == {"runninghub": 1, "ark": 2}
