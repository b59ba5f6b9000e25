"""Signatures of messages: an HMAC over header and body as they travel, with the id of its key. Pure.

A signature is the key's id and 128 bits of an HMAC-SHA256 in URL-safe base64: `k1` + 22 characters. Each key has the
stages that it may sign, so that the key of a public webhook signs wakes and nothing else. The first key that may sign a
stage signs its messages; all of them verify. So a new key is first added behind the others, to be known everywhere,
then moved to the front, and the old one is removed once no message signed with it can be under way.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from typing import Final

from messages.compact import base64_text
from messages.errors import BadSignature, NewerMessage, NotSigned

__all__ = ["KEY_ID", "MessageKey", "MessageKeys"]

KEY_ID: Final = re.compile(r"[A-Za-z0-9]{1,8}", re.ASCII)
"""Form of a key's id; two characters keep messages small."""

_MAC_BYTES: Final = 16
_MAC_CHARS: Final = 22


class MessageKey:
    """Key that signs messages and checks their signatures.

    Args:
        key_id: matches `KEY_ID`.
        secret: at least as long as the hash, see RFC 2104, section 3.
        stages: stages whose messages it may sign; None for all.
    """

    __slots__ = ("_keyed", "key_id", "stages")

    def __init__(self, key_id: str, secret: bytes, stages: frozenset[str] | None = None) -> None:
        self.key_id = key_id
        self.stages = stages
        # Copied for each message: faster than keying it each time.
        self._keyed = hmac.new(secret, digestmod="sha256")

    def __repr__(self) -> str:
        """Show the id alone."""
        return f"MessageKey({self.key_id!r})"

    def may_sign(self, stage: str) -> bool:
        """Return True if messages of a stage may be signed with it."""
        return self.stages is None or stage in self.stages

    def mac(self, header: bytes, body: bytes) -> str:
        """Return the text that only a holder of the key can make of a header and a body."""
        made = self._keyed.copy()
        made.update(header + b"\n" + body)
        return base64_text(made.digest()[:_MAC_BYTES])


class MessageKeys:
    """The keys of a process.

    Args:
        keys: the first that may sign a stage signs its messages, all of them verify. None signs nothing.
        accept_unsigned: whether messages without a signature are read.
    """

    def __init__(self, keys: Sequence[MessageKey] = (), *, accept_unsigned: bool = True) -> None:
        self._keys = tuple(keys)
        self._by_id = {key.key_id: key for key in keys}
        self._signer: dict[str, MessageKey | None] = {}
        self._accept_unsigned = accept_unsigned

    def sign(self, stage: str, header: bytes, body: bytes) -> str:
        """Return the signature of a message; empty where there are no keys.

        Raises:
            messages.errors.NotSigned: there are keys, and none of them may sign the stage.
        """
        if not self._keys:
            return ""
        key = self.signer(stage)
        if key is None:
            raise NotSigned(f"none of the keys {', '.join(self._by_id)} may sign a {stage} message")
        return key.key_id + key.mac(header, body)

    def signer(self, stage: str) -> MessageKey | None:
        """Return the key that signs the messages of a stage; None if none may."""
        if stage not in self._signer:
            self._signer[stage] = next((key for key in self._keys if key.may_sign(stage)), None)
        return self._signer[stage]

    def check(self, signature: str, stage: str, header: bytes, body: bytes, created: float) -> None:
        """Check the signature of a message.

        Args:
            signature: as it came; empty for none.
            stage: as the header says.
            header: as it travelled.
            body: as it travelled.
            created: as the header says, seconds since the epoch.

        Raises:
            messages.errors.NewerMessage: the key is not known here.
            messages.errors.BadSignature: it is none of that key's, or the key may not sign the stage, or there is none.
        """
        if not signature:
            if self._accept_unsigned:
                return
            raise BadSignature(f"a {stage[:32]!r} message without a signature")
        key_id = signature[:-_MAC_CHARS]
        key = self._by_id.get(key_id)
        if key is None:
            if KEY_ID.fullmatch(key_id):
                raise NewerMessage(f"the key {key_id!r} is not known here", created=created)
            raise BadSignature(f"a {stage[:32]!r} message whose signature has no key's id")
        made = key.mac(header, body).encode()
        if not hmac.compare_digest(made, signature[-_MAC_CHARS:].encode("utf-8", "surrogatepass")):
            raise BadSignature(f"a {stage[:32]!r} message whose signature is none of the key {key.key_id!r}")
        if not key.may_sign(stage):
            raise BadSignature(f"the key {key.key_id!r} may not sign a {stage[:32]!r} message")
