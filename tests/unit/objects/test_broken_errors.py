"""Error answers of COS whose body, which names the code, broke off or cannot be read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from messages.errors import Permanent
from services.errors import ObjectsDown
from services.objects.cos import CosObjects
from tests.unit.objects.test_cos import CALLS

BROKEN_OFF = {
    "no body at all": b"",
    "before its code": b"<Error><Co",
    "within its code": b"<Error><Code>InvalidArg",
    "behind its code": b"<Error><Code>InvalidArgument</Code><Mess",
}


@pytest.mark.parametrize(("operation", "call"), [call for call in CALLS if call[0] != "head"])
@pytest.mark.parametrize("body", BROKEN_OFF.values(), ids=BROKEN_OFF)
async def test_a_400_whose_body_broke_off_is_an_outage(
    cos: Any, objects: CosObjects, operation: str, call: Callable[[CosObjects], Awaitable[Any]], body: bytes
) -> None:
    """Its code, which would show whose fault it is, is not known for certain."""
    cos.script = lambda _: cos.answer(400, body, length=400)
    with pytest.raises(ObjectsDown, match=f"^{operation} .*400"):
        await call(objects)
    assert len(cos.requests) == 1


@pytest.mark.parametrize("status", [404, 409, 412])
async def test_what_an_answer_says_of_an_object_counts_only_if_its_body_is_whole(
    cos: Any, objects: CosObjects, status: int
) -> None:
    """Its code might have named the bucket, or a collision of two writes."""
    cos.script = lambda _: cos.answer(status, b"<Error><Co", length=400)
    with pytest.raises(ObjectsDown):
        await objects.put_new("a", b"1")


@pytest.mark.parametrize("body", [b"", b"<html>400 Bad Request</html>"])
async def test_a_400_that_names_no_code_is_an_outage(cos: Any, objects: CosObjects, body: bytes) -> None:
    cos.say(400, body)
    with pytest.raises(ObjectsDown):
        await objects.put("a", b"1")


async def test_a_400_that_is_whole_is_not(cos: Any, objects: CosObjects) -> None:
    cos.say(400, b"<Error><Code>InvalidArgument</Code></Error>")
    with pytest.raises(Permanent, match="InvalidArgument"):
        await objects.put("a", b"1")
    # An answer to HEAD never has a body.
    with pytest.raises(Permanent):
        await objects.head("a")
