"""`MESSAGE_KEYS`: the keys that messages are signed and checked with, and the stages that each may sign.

    k2:*:SECRET,k1:*:SECRET,w1:wake:SECRET

Each is an id, the stages (`*` for all, several joined by `+`) and the secret; commas or white space separate them. The
first that may sign a stage signs its messages; all of them verify (docs/how-to/rotate-message-keys.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import msgspec

from messages.bodies import Stage
from messages.signing import KEY_ID, MessageKey, MessageKeys
from runtime.errors import BadSettings
from telemetry.secrets import Secret

if TYPE_CHECKING:
    from runtime.settings import Settings

__all__ = ["MIN_KEY_BYTES", "ParsedKey", "open_keys", "parse_keys"]

MIN_KEY_BYTES: Final = 32
"""Length of the hash (RFC 2104, section 3)."""

_SEPARATOR: Final = re.compile(r"[\s,]+")
_EVERY: Final = "*"


class ParsedKey(msgspec.Struct, frozen=True):
    """Entry of `MESSAGE_KEYS`."""

    key_id: str
    stages: frozenset[str] | None
    """Stages whose messages it may sign; None for all."""
    secret: Secret


def parse_keys(text: Secret) -> tuple[ParsedKey, ...]:
    """Return the keys in the variable, in their order.

    Raises:
        BadSettings: one has not the form of a key; the text never has a secret.
    """
    entries = [entry for entry in _SEPARATOR.split(text.reveal()) if entry]
    found = tuple(_parsed(number, entry) for number, entry in enumerate(entries, 1))
    ids = [key.key_id for key in found]
    if twice := {key_id for key_id in ids if ids.count(key_id) > 1}:
        raise BadSettings(f"MESSAGE_KEYS has the id {min(twice)!r} twice: a new key needs an id of its own")
    return found


def open_keys(settings: Settings, stages: Iterable[Stage]) -> MessageKeys:
    """Return the keys with which a process signs and checks messages.

    Args:
        settings: the settings.
        stages: whose messages it publishes.

    Raises:
        BadSettings: there are no keys although production needs them, or none may sign one of the stages.
    """
    found = parse_keys(settings.message_keys)
    if not found:
        if settings.environment == "production" and not settings.message_unsigned:
            raise BadSettings(
                "set MESSAGE_KEYS (docs/configuration.md has its form), or MESSAGE_UNSIGNED=true while builds that "
                "sign no messages are being replaced"
            )
        return MessageKeys()
    keys = MessageKeys(
        [MessageKey(key.key_id, _bytes(key.secret), key.stages) for key in found],
        accept_unsigned=settings.message_unsigned,
    )
    if unsigned := [stage.value for stage in stages if keys.signer(stage) is None]:
        raise BadSettings(f"no key in MESSAGE_KEYS may sign {', '.join(unsigned)} messages, which are published here")
    return keys


def _parsed(number: int, entry: str) -> ParsedKey:
    key_id, _, rest = entry.partition(":")
    stages, _, secret = rest.partition(":")
    where = f"key {number} of MESSAGE_KEYS"
    if not KEY_ID.fullmatch(key_id) or not secret:
        raise BadSettings(f"{where} must be id:stages:secret, with an id of 1 to 8 letters or digits")
    names = frozenset(stages.split("+"))
    if stages != _EVERY and not names <= set(Stage):
        known = ", ".join(stage.value for stage in Stage)
        raise BadSettings(f"{where} ({key_id}) must name * or stages joined by +, of {known}")
    if (size := len(_bytes(Secret(secret)))) < MIN_KEY_BYTES:
        raise BadSettings(f"{where} ({key_id}) has a secret of {size} bytes, and signing needs {MIN_KEY_BYTES}")
    return ParsedKey(key_id, None if stages == _EVERY else names, Secret(secret))


def _bytes(secret: Secret) -> bytes:
    return secret.reveal().encode("utf-8", "surrogatepass")
