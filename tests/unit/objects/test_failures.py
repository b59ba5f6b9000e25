from __future__ import annotations

import pytest

from messages.codes import Code
from messages.errors import Permanent, RetryClass, ScfWorkersError
from services.errors import BadPicture, Changed, Denied, Exists, Forbidden, NotFound, ObjectsDown
from services.objects._failures import Failure, code_of, error_of, error_of_code

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("operation", "status", "code", "expected"),
    [
        ("get", 404, "NoSuchKey", NotFound),
        ("head", 404, "", NotFound),
        ("get", 404, "NoSuchBucket", Denied),
        ("get", 412, "PreconditionFailed", Changed),
        ("put", 401, "", Denied),
        ("put", 403, "SignatureDoesNotMatch", Denied),
        ("put", 403, "InvalidAccessKeyId", Denied),
        ("put", 400, "ExpiredToken", Denied),
        ("put", 400, "InvalidToken", Denied),
        ("put", 403, "RequestTimeTooSkewed", Denied),
        ("get", 403, "AccessDenied", Forbidden),
        ("get", 403, "ObjectFrozen", Forbidden),
        ("head", 403, "", Forbidden),
        ("get", 403, "InvalidObjectState", Permanent),
        ("put_new", 409, "FileAlreadyExists", Exists),
        ("put_new", 409, "", Exists),
        ("put_new", 409, "PathConflict", ObjectsDown),
        ("put", 409, "PathConflict", ObjectsDown),
        ("put", 0, "", ObjectsDown),
        ("put", 200, "", ObjectsDown),
        ("put", 307, "", ObjectsDown),
        ("put", 400, "RequestTimeout", ObjectsDown),
        ("put", 402, "PaymentRequired", ObjectsDown),
        ("put", 429, "", ObjectsDown),
        ("put", 500, "InternalError", ObjectsDown),
        ("put", 503, "SlowDown", ObjectsDown),
        ("process", 400, "InvalidImageFormat", BadPicture),
        ("process", 400, "InvalidPicOperations", Permanent),
        ("put", 400, "InvalidImageFormat", Permanent),
        ("put", 451, "UnavailableForLegalReasons", Permanent),
    ],
)
def test_each_status_and_code_has_its_error(
    operation: str, status: int, code: str, expected: type[ScfWorkersError]
) -> None:
    error = error_of(Failure(operation, "a/b", status=status, code=code))
    assert type(error) is expected
    assert f"{operation} 'a/b'" in str(error)
    assert code in str(error)


def test_a_picture_that_is_too_large_says_so_to_the_user() -> None:
    assert error_of(Failure("process", "a", status=400, code="ImageTooLarge")).code is Code.PICTURE_TOO_LARGE
    assert error_of(Failure("process", "a", status=400, code="InvalidImageFormat")).code is Code.BAD_PICTURE


@pytest.mark.parametrize(
    ("code", "machine"),
    [
        *(
            ("SignatureDoesNotMatch", True),
            ("InvalidAccessKeyId", True),
            ("ExpiredToken", True),
            ("NoSuchBucket", True),
        ),
        *(("InvalidToken", True), ("RequestTimeTooSkewed", True), ("AccessDenied", False), ("", False)),
    ],
)
def test_what_is_refused_waits_and_the_others_with_it_where_the_code_speaks_of_the_machine(
    code: str, *, machine: bool
) -> None:
    error = error_of(Failure("get", "a", status=403, code=code))
    assert isinstance(error, Denied)
    assert (error.retry, error.whole_service) == (RetryClass.OUTAGE, machine)


@pytest.mark.parametrize(
    ("status", "expected"),
    [*((status, ObjectsDown) for status in (400, 404, 409, 412, 503)), (401, Denied), (403, Forbidden)],
)
def test_an_error_whose_body_broke_off_is_an_outage_or_still_a_refusal(
    status: int, expected: type[ScfWorkersError]
) -> None:
    assert type(error_of(Failure("put_new", "a", status=status, cut=True))) is expected


def test_an_outage_tells_how_long_to_wait() -> None:
    assert error_of(Failure("get", "a", status=503, retry_after=7.0)).retry_after == 7.0


def test_a_key_of_a_batch_that_is_not_there_is_no_failure() -> None:
    assert error_of_code("delete", "a", "NoSuchKey") is None
    assert type(error_of_code("delete", "a", "AccessDenied")) is Forbidden
    assert type(error_of_code("delete", "a", "InternalError")) is ObjectsDown
    assert type(error_of_code("delete", "a", "MethodNotAllowed")) is Permanent


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"<Error><Code>NoSuchKey</Code><Message/></Error>", "NoSuchKey"),
        (b"<Error>\n <Code> -65007 </Code></Error>", "-65007"),
        (b"<html>502 Bad Gateway</html>", ""),
        (b"", ""),
        (b"\xff<Code>\xff</Code>", ""),
    ],
)
def test_the_code_is_found_in_incomplete_bodies(body: bytes, code: str) -> None:
    assert code_of(body) == code
