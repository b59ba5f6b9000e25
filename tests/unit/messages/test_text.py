"""A byte order mark in front of UTF-8 is not part of a document that others wrote."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from console.cli.arguments import BadUsage, read_event
from messages.errors import Rejected
from messages.text import WrongEncoding, without_bom
from recipes.table import RECIPES
from runtime.errors import BadBody
from runtime.event_json import decode_event
from runtime.settings import load_settings
from runtime.vendors import open_vendors
from services.objects.port import ObjectInfo
from tasks.accepting.request import read_metadata, read_task_file, token_in

BOM = codecs.BOM_UTF8
WORKFLOWS = Path(__file__).parents[3] / "sandbox/workflows"
TASK = b'{"kind": "basic_clean", "inputs": ["front.jpg"], "ticket": "a.b.c"}'


def info(size: int = 1, **meta: str) -> ObjectInfo:
    return ObjectInfo(key="input/u/t/task.json", size=size, etag="e", modified=1.0, date=1.0, meta=meta)


def test_a_task_file_with_a_mark_is_read() -> None:
    assert token_in(BOM + TASK) == "a.b.c"
    assert read_task_file(info(), BOM + TASK) == read_task_file(info(), TASK)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_a_task_file_in_another_encoding_is_refused_by_name(encoding: str) -> None:
    body = TASK.decode().encode(encoding)
    assert token_in(body) == ""
    with pytest.raises(Rejected, match=f"it is {encoding.upper()}: save it as UTF-8"):
        read_task_file(info(), body)


@pytest.mark.parametrize("params", ['\ufeff{"format": "png"}', "%EF%BB%BF%7B%22format%22%3A%22png%22%7D"])
def test_parameters_with_a_mark_are_read(params: str) -> None:
    assert read_metadata(info(kind="basic_clean", params=params)).params == {"format": "png"}


def test_an_event_with_a_mark_is_read(tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.write_bytes(BOM + b'{"a": 1}')
    assert read_event(str(file)) == {"a": 1}
    file.write_bytes('{"a": 1}'.encode("utf-16"))
    with pytest.raises(BadUsage, match="it is UTF-16"):
        read_event(str(file))


def test_the_event_of_a_call_with_a_mark_is_read() -> None:
    assert decode_event(BOM + b'{"a": 1}') == {"a": 1}
    with pytest.raises(BadBody, match="it is UTF-16"):
        decode_event('{"a": 1}'.encode("utf-16"))


def test_a_workflow_file_with_a_mark_is_read(tmp_path: Path) -> None:
    for file in WORKFLOWS.glob("*.json"):
        (tmp_path / file.name).write_bytes(BOM + file.read_bytes())
    environ = {"RUNNINGHUB_API_KEY": "0123456789abcdef0123456789abcdef", "RUNNINGHUB_WORKFLOWS": str(tmp_path)}
    assert [vendor.name for vendor in open_vendors(load_settings(environ), RECIPES)] == ["runninghub"]


def test_a_secrets_file_with_a_mark_holds_the_secret_alone(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(BOM + b"0123456789abcdef0123456789abcdef\r\n")
    settings = load_settings({"TICKET_SECRET_FILE": str(file)})
    assert settings.ticket_secret.reveal() == "0123456789abcdef0123456789abcdef"


def test_only_the_first_mark_goes() -> None:
    assert without_bom(BOM + BOM + b"x") == BOM + b"x"
    assert without_bom(b"x") == b"x"
    assert without_bom(b"") == b""
    with pytest.raises(WrongEncoding, match="UTF-32"):
        without_bom("x".encode("utf-32"))
