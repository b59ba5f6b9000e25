"""Translation of pulsar-client's failures into errors of `transport.errors`.

pulsar-client has two unrelated families of failures: exceptions named after a result (`_pulsar.Timeout`), and results
that asynchronous calls pass to their callback (`Result.Timeout`), which `pulsar.asyncio` wraps in exceptions of its
own. All of them carry the name of the result, and the translation uses that name.
"""

from __future__ import annotations

from typing import Any, Final

from messages.errors import MessageTooLarge, ScfWorkersError
from transport.errors import BadBrokerUrl, BrokerDown, BrokerUnauthorized, Closed

__all__ = ["failure"]

_UNAUTHORIZED: Final = frozenset({"AuthenticationError", "AuthorizationError", "ErrorGettingAuthenticationData"})
_MISNAMED: Final = frozenset({"InvalidUrl", "InvalidTopicName", "InvalidConfiguration"})
_HINTS: Final = {
    "TopicNotFound": "the topic does not exist and the broker does not create topics automatically: create it",
    "ProducerBlockedQuotaExceededError": "the backlog quota is exceeded",
    "ProducerBlockedQuotaExceededException": "the backlog quota is exceeded",
    "Timeout": "the broker did not answer in time",
    "ConnectError": "no connection",
    "NotConnected": "no connection",
    "Disconnected": "the connection broke",
    "ServiceUnitNotReady": "the broker is loading the topic, or moves it to another one",
    "LookupError": "the broker does not say which broker serves the topic",
}


def failure(found: Any, doing: str) -> ScfWorkersError:  # noqa: ANN401 - the library is untyped
    """Translate a failure of the client into one of our errors.

    Args:
        found: a result, or an exception of either family.
        doing: the operation that failed, such as `publishing on poll`.
    """
    name = getattr(found, "name", None) or type(found).__name__
    text = f"{doing}: {_HINTS.get(name, name)}"
    if name == "AlreadyClosed":
        return Closed(text)
    if name == "MessageTooBig":
        return MessageTooLarge(text)
    if name in _UNAUTHORIZED:
        return BrokerUnauthorized(f"{text}; grant this token's role the right to produce and consume in this namespace")
    if name in _MISNAMED:
        return BadBrokerUrl(f"{text}; correct BROKER_URL, BROKER_TENANT or BROKER_NAMESPACE")
    return BrokerDown(text)
