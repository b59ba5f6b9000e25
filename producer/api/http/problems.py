"""Problems: every answer that is no success, as `application/problem+json` (RFC 9457). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from messages.codes import Code, text_of
from messages.errors import Outage, Rejected, ScfWorkersError
from producer.api.wire import Problem
from services.errors import NotSold

__all__ = ["MEDIA_TYPE", "Failure", "as_failure", "field_in", "problem_of", "unusable"]

MEDIA_TYPE: Final = "application/problem+json"

_RETRY_S: Final = 5
_AT: Final = re.compile(r"at `\$\.?([^`]*)`")
_NAMED: Final = re.compile(r"(?:unknown|required) field `([^`]*)`|`([^`]*)` must ")
"""Name of a field in an error of msgspec, or of a recipe's own check."""
_NOT_SOLD: Final = {402: "quota", 409: "conflict", 422: "idempotency_key", 429: "too_many_requests"}
_TEXTS: Final[Mapping[str, str]] = {
    "bad_media_type": "请求格式有误，请使用 JSON",
    "bad_request": "请求格式有误",
    "conflict": "暂时无法下单，请稍后重试",
    "finished": "任务已结束，无法取消",
    "forbidden": "没有权限",
    "idempotency_key": "该幂等键已用于其他请求",
    "internal": "系统错误，请稍后重试",
    "method_not_allowed": "不支持的请求方法",
    "not_found": "内容不存在",
    "not_implemented": "此处不支持实时进度，请改用查询",
    "not_sold": "暂时无法下单，请稍后重试",
    "quota": "额度不足",
    "too_large": "请求内容过大",
    "too_many_requests": "请求过于频繁，请稍后重试",
    "too_slow": "请求超时，请重试",
    "unauthorized": "请先登录",
}
"""Code of the API alone -> its text for people. The codes of tasks have theirs in `messages.codes`."""


class Failure(Exception):
    """An answer that is no success.

    Args:
        status: HTTP status.
        detail: for developers; never has a secret.
        code: stable code.
        field: name of the field at fault.
        message: text for people, in Chinese; empty takes that of the code.
        retry_after: seconds for `Retry-After`; 0 sends none.
        closes: the connection cannot be used again: the rest of the request is unread.
    """

    def __init__(
        self,
        status: int,
        detail: str = "",
        *,
        code: str = "",
        field: str = "",
        message: str = "",
        retry_after: float = 0.0,
        closes: bool = False,
    ) -> None:
        super().__init__(detail or HTTPStatus(status).phrase)
        self.status = status
        self.detail = detail
        self.code = code
        self.field = field
        self.message = message or _TEXTS.get(code, "")
        self.retry_after = retry_after
        self.closes = closes


def unusable(detail: str, field: str, code: Code = Code.BAD_PARAMETERS) -> Failure:
    """Return the answer to a field or parameter that cannot be used.

    Args:
        detail: for developers.
        field: name of the field; empty for the body as a whole.
        code: code of the catalogue, which has the text for people.
    """
    return Failure(422, detail, code=code, field=field, message=text_of(code))


def as_failure(error: Exception) -> Failure | None:
    """Return the answer to an error of our trees; None for a defect, whose text must not be shown."""
    match error:
        case Failure():
            return error
        case NotSold():
            code = _NOT_SOLD.get(error.status, "not_sold")
            retry_after = error.retry_after or (_RETRY_S if error.status == HTTPStatus.TOO_MANY_REQUESTS else 0.0)
            field = "Idempotency-Key" if error.status == HTTPStatus.UNPROCESSABLE_ENTITY else ""
            return Failure(error.status, str(error), code=code, field=field, retry_after=retry_after)
        case Rejected():
            text = str(error)
            return Failure(422, text, code=error.code, field=field_in(text), message=text_of(error.code))
        case Outage():
            message = text_of(Code.BUSY)
            retry_after = max(error.retry_after or 0.0, _RETRY_S)
            return Failure(503, "a service is away", code=Code.BUSY, message=message, retry_after=retry_after)
        case ScfWorkersError():
            return None
        case _:
            return None


def field_in(text: str) -> str:
    """Return the field that an error of a document names: `options.size`, `inputs[0]`; empty for none."""
    path = found[1] if (found := _AT.search(text)) else ""
    named = (found[1] or found[2]) if (found := _NAMED.search(text)) else ""
    return ".".join(filter(None, (path, named)))


def problem_of(failure: Failure, request_id: str) -> Problem:
    """Return the document of a failure."""
    return Problem(
        title=HTTPStatus(failure.status).phrase,
        status=failure.status,
        detail=failure.detail,
        code=failure.code,
        message=failure.message,
        field=failure.field,
        request_id=request_id,
    )
