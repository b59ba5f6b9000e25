"""The client's failures become ours.

pulsar-client has two families that know nothing of each other: exceptions named after a result (`_pulsar.Timeout`), and
results that asynchronous calls hand over (`Result.Timeout`), wrapped by `pulsar.asyncio` in exceptions of its own. The
result's name is in all of them, and decides.
"""

from __future__ import annotations

from typing import Any, Final

from messages.errors import MessageTooLarge, ScfWorkersError
from transport.errors import BadBrokerUrl, BrokerDown, BrokerUnauthorized, Closed

__all__ = ["failure"]

_UNAUTHORIZED: Final = frozenset({"AuthenticationError", "AuthorizationError", "ErrorGettingAuthenticationData"})
_MISNAMED: Final = frozenset({"InvalidUrl", "InvalidTopicName", "InvalidConfiguration"})
_HINTS: Final = {
    "TopicNotFound": "the topic is not there and topics are not made by themselves: make it",
    "ProducerBlockedQuotaExceededError": "the backlog quota is used up",
    "ProducerBlockedQuotaExceededException": "the backlog quota is used up",
    "Timeout": "no answer in time",
}


def failure(found: Any, doing: str) -> ScfWorkersError:  # noqa: ANN401 - an untyped library's
    """Our error for one of the client's.

    Args:
        found: a result, or an exception of either family.
        doing: what was tried, such as `publishing on poll`.
    """
    name = getattr(found, "name", None) or type(found).__name__
    text = f"{doing}: {_HINTS.get(name, name)}"
    if name == "AlreadyClosed":
        return Closed(text)
    if name == "MessageTooBig":
        return MessageTooLarge(text)
    if name in _UNAUTHORIZED:
        return BrokerUnauthorized(f"{text}; does this token have the right to do that in this namespace?")
    if name in _MISNAMED:
        return BadBrokerUrl(f"{text}; correct BROKER_URL, BROKER_TENANT or BROKER_NAMESPACE")
    return BrokerDown(text)
