"""docs/how-to/deploy-on-scf.md against the code: rights, triggers, functions and their variables."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
from collections.abc import Mapping
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Final, cast
from unittest.mock import AsyncMock

import pytest

from console.doctor.checks import checks_of
from messages.codes import Code
from messages.keys import (
    INPUT_EXTENSIONS,
    INPUT_PREFIX,
    InputKey,
    RunId,
    dead_key,
    output_key,
    parse_input_key,
    prompt_cache_key,
    staging_prefix,
)
from producer.cos_event import CREATED
from producer.cos_trigger import take_event
from producer.sweep import SweepPosition, resume_sweep
from producer.webhook import take_call
from recipes.table import RECIPES
from runtime.function_url import read_request
from runtime.settings import SECRETS, Settings
from services.media.ai_labels import AiLabels
from services.objects.bucket.rules import Keeping, cors_rules, data_rules, ledger_rules
from services.objects.port import Result
from services.unfinished import UnfinishedPage, UnfinishedTask
from tasks.accepting.inputs import MAX_PICTURE_BYTES
from tasks.accepting.request import TASK_FILE_LIMIT
from tasks.accepting.tickets import MIN_SECRET_BYTES
from tasks.calls.webhook_paths import Webhooks
from tasks.context import WebhookServices
from tasks.lists.statistics import LONGEST_S
from telemetry.secrets import Secret
from tests.bad_input import pictures
from tests.bad_input.harness import TicketHarness, event
from tests.docs.environments import EVERYWHERE, FUNCTIONS
from tests.docs.pages import blocks_of, text_of
from tests.docs.rights import ACTIONS, DATA, LEDGER, OBJECTS, PICTURES, Used, allows, may_put, used_by
from tests.support.bucket_rules import sound_buckets
from transport.sqlite import SqliteOptions

PAGE: Final = "docs/how-to/deploy-on-scf.md"
TEXT: Final = text_of(PAGE)
JSON: Final = [json.loads(block.text) for block in blocks_of(PAGE) if block.language == "json"]
SETUP_ROLE, TRIGGER_ROLE, SWEEP_ROLE, ROLE, API_ROLE, BESIDES, TRIGGER, UPLOADER, SEVERAL = JSON
(HCL,) = (block.text for block in blocks_of(PAGE) if block.language == "hcl")


VIDEO_OPERATIONS: Final = (
    "video_info",
    "snapshot",
    "submit_video_audit",
    "video_audit",
    "submit_video_label",
    "video_label",
)


async def live(harness: TicketHarness) -> None:
    """A success of each kind, a violation after the vendor's work, a refusal, an upload that a sweep finds."""
    await harness.submit(pictures.jpeg())
    await harness.submit(pictures.jpeg(), kind="model_pose12")
    harness.findings["_07.jpg"] = Result(violation=True, suspect=False, label="Porn", score=99)
    violating = await harness.submit(pictures.jpeg(), kind="model_pose12")
    assert (await harness.verdict(violating)).code == Code.CONTENT_VIOLATION
    harness.findings.clear()
    await harness.submit(b"no picture")
    run = harness.sell()
    meta = {"kind": "basic_clean", "ticket": harness.ticket(run)}
    await harness.put(run, "original.jpg", pictures.jpeg(), meta)
    # This upload had no event: the sweep looks at its records, and its wake at the upload.
    assert await harness.ledger.trail(run) == {}
    await harness.wake(run, "sweep")
    await harness.drain()
    await harness.promise(run, "success")


def test_the_consumers_role_may_do_all_that_the_product_does() -> None:
    used = used_by(live)
    assert {one.operation for one in used if one.bucket == DATA} >= {
        "head",
        "process",
        "audit",
        "copy",
        "delete",
        "list",
    }
    assert {one.operation for one in used if one.bucket == LEDGER} == {"get", "put_new", "list"}
    letter = dead_key("2026-11-25", "fingerprint", "identity")
    used |= {
        Used(LEDGER, "put_new", letter),
        Used(LEDGER, "get", letter),
        Used(LEDGER, "get", prompt_cache_key("digest")),
        Used(LEDGER, "put", prompt_cache_key("digest")),
        Used(DATA, "audit_text", ""),
        *(
            Used(DATA, operation, staging_prefix(RunId("u-1", "t-1"), "nonce") + "input_01.mp4")
            for operation in VIDEO_OPERATIONS
        ),
        # Withdrawn when the backend keeps the contrary verdict.
        Used(DATA, "delete", output_key(RunId("u-1", "t-1"), "frame_01.jpg")),
        # The vendor reads a large input itself.
        Used(DATA, "presign", staging_prefix(RunId("u-1", "t-1"), "nonce") + "input_01.jpg"),
    }
    assert [one for one in sorted(used) if not allows([ROLE], one)] == []


async def take_uploads_in(harness: TicketHarness) -> None:
    """A picture, twice; a task file; one that is refused; one without a ticket."""
    folder = [harness.sell() for _ in range(4)]
    meta = [{"kind": "basic_clean", "ticket": harness.ticket(run)} for run in folder]
    task = {"kind": "basic_clean", "ticket": harness.ticket(folder[1]), "inputs": ["a.jpg"]}
    await harness.put(folder[1], "a.jpg", pictures.jpeg())
    keys = [
        await harness.put(folder[0], "original.jpg", pictures.jpeg(), meta[0]),
        await harness.put(folder[1], "task.json", json.dumps(task).encode()),
        await harness.put(folder[2], "original.jpg", b"", meta[2]),
        await harness.put(folder[3], "original.jpg", pictures.jpeg()),
    ]
    assert await take_event(event(*keys), harness.out) == {"accepted": 2, "rejected": 2, "ignored": 0}
    assert (await take_event(event(keys[0]), harness.out))["again"] == 1


def test_the_triggers_role_may_do_what_it_does_and_no_more_than_the_consumers() -> None:
    used = used_by(take_uploads_in)
    assert {one.operation for one in used} == {"head", "get", "put_new"}
    assert [one for one in sorted(used) if not allows([TRIGGER_ROLE], one)] == []
    for bucket, prefixes in ((DATA, ("input/", "staging/", "output/")), (LEDGER, ("ledger/", "dead/", "status/"))):
        for operation, prefix in itertools.product(ACTIONS, prefixes):
            assert allows([ROLE, BESIDES], Used(bucket, operation, prefix)) or not allows(
                [TRIGGER_ROLE], Used(bucket, operation, prefix)
            )


async def sweep_once(harness: TicketHarness) -> None:
    """It finds a task that was accepted, and one whose upload had no event."""
    row = UnfinishedTask("t-1", "u-1", 0, harness.now(), "basic_clean")
    listing = SimpleNamespace(unfinished=AsyncMock(return_value=UnfinishedPage((row,), None)))
    out = dataclasses.replace(harness.out, backend=cast("Any", listing))
    assert (await resume_sweep({"older_than": 0}, out, math.inf, SweepPosition())).listed == 1


def test_the_sweeps_role_may_do_what_it_does_and_reads_nothing() -> None:
    used = used_by(sweep_once)
    assert {(one.bucket, one.operation) for one in used} == {(LEDGER, "list"), (LEDGER, "put")}
    assert [one for one in sorted(used) if not allows([SWEEP_ROLE], one)] == []
    for key in ("ledger/u-1/t-1/0-0/accepted", "index/", "dead/", "input/u-1/t-1/original.jpg", "output/"):
        for operation in ("get", "put", "put_new", "delete"):
            assert not any(allows([SWEEP_ROLE], Used(bucket, operation, key)) for bucket in (DATA, LEDGER))


def test_no_role_can_write_an_input_or_delete_a_record() -> None:
    for role in (TRIGGER_ROLE, SWEEP_ROLE, ROLE):
        for operation in ("put", "delete", "copy"):
            assert not allows([role], Used(DATA, operation, "input/u-1/t-1/original.jpg"))
    for role in (TRIGGER_ROLE, SWEEP_ROLE, ROLE, API_ROLE):
        for key in ("ledger/u-1/t-1/0-0/verdict", "index/u-1/0-t-1", "dead/2026-11-25/f/i"):
            assert not allows([role, BESIDES], Used(LEDGER, "delete", key))


def test_every_right_is_named_and_bound_to_one_of_the_two_buckets() -> None:
    for policy in (SETUP_ROLE, TRIGGER_ROLE, SWEEP_ROLE, ROLE, API_ROLE, BESIDES, UPLOADER, SEVERAL):
        assert policy["version"] == "2.0"
        for statement in policy["statement"]:
            assert not [action for action in statement["action"] if "*" in action]
            for resource in statement["resource"]:
                assert re.match(rf"{OBJECTS}({DATA}|{LEDGER})/|{PICTURES}{DATA}/\*$", resource)


def test_the_doctor_may_do_what_it_does() -> None:
    looks = {"data bucket", "picture service", "audit", "ledger: versioning", "ledger: create-only", "clock"}
    looks |= {"video audit", "video labels"}

    async def examine(harness: TicketHarness) -> None:
        labels = AiLabels("示例公司", "", Secret("a secret of the labels in tests, long"), visible=True)
        harness.out = dataclasses.replace(harness.out, labels=labels)
        checks = checks_of(Settings(), SqliteOptions("sqlite:///:memory:"), harness.out, sound_buckets())
        assert looks <= {check.name for check in checks}
        for check in checks:
            if check.name in looks:
                await check.run()

    used = used_by(examine)
    assert {one.bucket for one in used} == {DATA, LEDGER}
    assert [one for one in sorted(used) if not allows([ROLE, BESIDES], one)] == []


def test_the_first_task_may_be_submitted_and_looked_at() -> None:
    for used in (
        Used(DATA, "put", "input/u-1/t-1/original.jpg"),
        Used(DATA, "list", "output/u-1/t-1/"),
        Used(DATA, "get", "output/u-1/t-1/result_01.jpg"),
        Used(LEDGER, "list", "ledger/u-1/t-1/0-0/"),
        Used(LEDGER, "get", "ledger/u-1/t-1/0-0/accepted"),
    ):
        assert allows([ROLE, BESIDES], used)


PICTURE_TYPES: Final = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "jfif": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "bmp": "image/bmp",
}
FILES: Final = {
    "UPLOADER": {"original.jpg": ("image/jpeg", MAX_PICTURE_BYTES)},
    "SEVERAL": {
        "front.jpg": ("image/jpeg", MAX_PICTURE_BYTES),
        "back.png": ("image/png", MAX_PICTURE_BYTES),
        "task.json": ("application/json", TASK_FILE_LIMIT),
    },
}
"""Policy -> file -> type and most bytes."""


@pytest.mark.parametrize(("policy", "files"), [(UPLOADER, FILES["UPLOADER"]), (SEVERAL, FILES["SEVERAL"])])
def test_a_clients_key_may_put_exactly_the_files_of_its_task(policy: Any, files: Mapping[str, tuple[str, int]]) -> None:
    folder = InputKey("{userId}", "{taskId}", "").folder
    for name, (kind, most) in files.items():
        assert may_put(policy, folder + name, kind, most)
        assert not may_put(policy, folder + name, kind, most + 1)
        assert not may_put(policy, folder + name, kind, None)
        for other in {"text/html", "image/svg+xml", "", "application/octet-stream", kind.upper()}:
            assert not may_put(policy, folder + name, other, 1)
    for key in (folder, folder + "other.jpg", folder + "original.jpg/x", "input/u-2/t-2/original.jpg", "output/x.jpg"):
        assert not any(may_put(policy, key, kind, 1) for kind, _ in files.values())
    assert all(statement["action"] == ["name/cos:PutObject"] for statement in policy["statement"])
    assert "*" not in json.dumps(policy)


def test_the_files_of_the_keys_are_taken_and_named_in_the_text() -> None:
    assert set(PICTURE_TYPES) == set(INPUT_EXTENSIONS)
    named = {kind: [name for name, other in PICTURE_TYPES.items() if other == kind] for kind in PICTURE_TYPES.values()}
    assert all(kind in TEXT for kind in named)
    assert f"image/jpeg ({', '.join(named['image/jpeg'])})" in TEXT
    assert f"{MAX_PICTURE_BYTES >> 20} MB at most and a task file {TASK_FILE_LIMIT >> 10} KB" in TEXT
    for name, (kind, _) in (FILES["UPLOADER"] | FILES["SEVERAL"]).items():
        assert {**PICTURE_TYPES, "json": "application/json"}[name.rpartition(".")[2]] == kind
    assert parse_input_key("input/u/t/original.jpg")


def test_the_webhook_asks_the_buckets_nothing() -> None:
    async def call(harness: TicketHarness) -> None:
        webhooks = Webhooks("https://webhook", Secret("w" * 32))
        run = harness.sell("model_pose12")
        out = WebhookServices(broker=harness.out.broker, webhooks=webhooks)
        path = webhooks.url("runninghub", run, 1, 1).removeprefix("https://webhook")
        request = {"httpMethod": "POST", "path": path, "headers": {}, "body": json.dumps({"taskId": "1"})}
        assert read_request(request).path == path
        assert (await take_call(request, out))["statusCode"] == 200

    assert used_by(call) == set()


def test_the_trigger_listens_where_clients_upload() -> None:
    assert {"event": f"{CREATED}*", "filter": {"Prefix": INPUT_PREFIX, "Suffix": ""}} == TRIGGER
    # By API it may have no spaces.
    assert json.dumps(TRIGGER, separators=(",", ":")) in TEXT
    reported = re.findall(
        r"trigger_desc += jsonencode\(\{ event = \"(.*?)\", filter = \{ Prefix = \"(.*?)\", Suffix = \"\" \}", HCL
    )
    assert reported == [(TRIGGER["event"], TRIGGER["filter"]["Prefix"])]


def test_the_functions_are_handlers_and_their_limits_are_alike_everywhere() -> None:
    assert [HCL.count(one) for one in "{(["] == [HCL.count(one) for one in "})]"]
    built = dict(re.findall(r'handler = "(.*?)", timeout = (\d+)', HCL))
    rows = dict(re.findall(r"^\| `(\S+)` \| .*? \| \d+ MB, (\d+) s \|", TEXT, re.MULTILINE))
    assert built == {name: limit for name, limit in rows.items() if name.startswith("producer.")}
    assert set(rows) == {*built, "consumers.runners.drain", "consumers.runners.push"}
    assert all(callable(import_module(name).main_handler) for name in rows)
    crons = [*re.findall(r'cron = "(.*?)"', HCL), *re.findall(r"timer `(.*?)`", TEXT)]
    assert len(crons) == 3
    assert all(len(cron.split()) == 7 for cron in crons)


def test_the_public_function_has_a_concurrency_of_its_own_and_no_function_has_all_variables() -> None:
    (reserved,) = re.findall(
        r"reserved_concurrency_config\" \"webhook\" \{\n.*\[\"webhook\"\].*\n.*reserved_concurrency_mem = (\d+)",
        HCL,
    )
    memory = dict(re.findall(r"^\| `(\S+)` \| .*? \| (\d+) MB, \d+ s \|", TEXT, re.MULTILINE))
    assert divmod(int(reserved), int(memory["producer.webhook"])) == (5, 0)
    assert "fills five instances" in TEXT
    groups = dict(re.findall(r"^  (\w+) += (\{ [A-Z].*\})$", HCL, re.MULTILINE))
    for handler, own in re.findall(r'handler = "(.*?)".*\n +environment = (.*)', HCL):
        named = " ".join((groups["broker"], own, *(groups[group] for group in re.findall(r"local\.(\w+)", own))))
        assert (
            set(FUNCTIONS[handler].needed)
            <= set(re.findall(r"\b([A-Z]+(?:_[A-Z]+)+) =", named))
            <= {
                *FUNCTIONS[handler].needed,
                *EVERYWHERE,
            }
        )


def test_the_picture_of_the_page_names_functions_that_there_are() -> None:
    (picture,) = (block.text for block in blocks_of(PAGE) if block.language == "mermaid")
    names = re.findall(r"\[((?:producer|consumers)\.[\w.]+)\]", picture)
    assert len(names) == 4
    assert all(callable(import_module(name).main_handler) for name in names)


def test_the_secrets_are_settings() -> None:
    secrets = re.findall(r"^\| `([A-Z0-9_]+)` \| [^|]+ \|$", TEXT, re.MULTILINE)
    assert len(secrets) == 9
    assert set(secrets) <= set(SECRETS)
    assert f"at least {MIN_SECRET_BYTES} bytes" in TEXT


def test_the_table_lists_every_rule() -> None:
    rows = re.findall(r"^\| (data|ledger) \| (.+?) \|", TEXT, re.MULTILINE)
    listed = sorted((bucket, name) for bucket, names in rows for name in re.findall(r"`([a-z]+)`", names))
    keeping = Keeping(output_days=1, origins=("https://shop.example",))
    rules = {"data": [*data_rules(keeping), *cors_rules(keeping)], "ledger": ledger_rules(keeping)}
    assert listed == sorted((bucket, rule.name) for bucket, found in rules.items() for rule in found)


def test_the_rules_fit_the_life_of_a_task() -> None:
    staging = next(rule for rule in data_rules(Keeping()) if rule.prefix == "staging/")
    assert staging.delete_days * 86400 > max(recipe.deadline_s for recipe in RECIPES.values()) + 3 * 86400
    done = next(rule for rule in ledger_rules(Keeping()) if rule.prefix == "done/")
    assert done.delete_days * 86400 > LONGEST_S


def test_setup_may_do_what_it_does_and_the_doctor_may_look() -> None:
    (setup,) = SETUP_ROLE["statement"]
    looks = {f"name/cos:Get{noun}" for noun in ("BucketLifecycle", "BucketCORS")}
    assert looks <= set(setup["action"])
    assert {action for statement in BESIDES["statement"] for action in statement["action"]} >= looks
    assert set(setup["action"]) == {
        f"name/cos:{verb}Bucket{noun}"
        for verb, noun in itertools.product(("Get", "Put", "Delete"), ("Lifecycle", "CORS"))
    } - {"name/cos:DeleteBucketLifecycle"}, "both buckets always have lifecycle rules"
