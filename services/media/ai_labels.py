"""Metadata label of AI-made content that this deployment writes into results: its fields, and CI's rule for it. Pure.

Chinese law requires it since 2025-09-01 (Measures for Labelling AI-Generated Synthetic Content, article 5; GB
45438-2025): a JSON object with what the content is, who provides the service that made it, and its number there. Its
`ReservedCode1` is for the provider's own proof: here an HMAC over the other fields. Rule: Tencent CI, document
436/124900.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

import msgspec

from services.media.labels import packet_of
from telemetry.secrets import Secret

__all__ = ["RULE_FORMATS", "AiLabel", "AiLabels"]

RULE_FORMATS: Final = frozenset({"jpg", "png"})
"""Extensions of pictures that CI's rule labels; `services.media.strip` labels the others that are sold."""

_PURPOSE: Final = b"scf-workers/ai-label"
_IS_AI: Final = "1"
"""The content is made by AI; 2 and 3 are for guesses of propagators."""


class AiLabel(msgspec.Struct, frozen=True, omit_defaults=True):
    """Label of one file; names and order of GB 45438-2025, annex E."""

    label: str = msgspec.field(name="Label")
    producer: str = msgspec.field(name="ContentProducer", default="")
    produce_id: str = msgspec.field(name="ProduceID", default="")
    code: str = msgspec.field(name="ReservedCode1", default="")
    propagator: str = msgspec.field(name="ContentPropagator", default="")
    propagate_id: str = msgspec.field(name="PropagateID", default="")

    @property
    def fields(self) -> Mapping[str, str]:
        """The fields that are not empty, by the standard's names."""
        named: dict[str, str] = msgspec.to_builtins(self)
        return named

    @property
    def packet(self) -> bytes:
        """The label as an XMP packet."""
        return packet_of(msgspec.json.encode(self).decode())

    @property
    def rule(self) -> str:
        """Rule of the picture service that writes the label into a jpg or png: the last step of a pipeline."""
        parts = (f"{name}/{_encoded(value)}" for name, value in self.fields.items())
        return f"imageMogr2/AIGCMetadata/{'/'.join(parts)}"


class AiLabels:
    """Maker of labels.

    Args:
        producer: name or code of the provider of the service; empty leaves the field out.
        propagator: name or code of the platform that spreads the content; empty leaves its fields out.
        secret: key from which the key of the integrity code is derived: the codes are public.
        visible: True if pictures bear a visible label too.
    """

    def __init__(self, producer: str, propagator: str, secret: Secret, *, visible: bool) -> None:
        self._producer = producer
        self._propagator = propagator
        self._secret = secret
        self.visible: Final = visible

    def of(self, produce_id: str) -> AiLabel:
        """Return the label of a file.

        Args:
            produce_id: the file's number, unique in this deployment.
        """
        propagate_id = produce_id if self._propagator else ""
        label = AiLabel(_IS_AI, self._producer, produce_id, "", self._propagator, propagate_id)
        return msgspec.structs.replace(label, code=self._code(label))

    def is_ours(self, fields: Mapping[str, str]) -> bool:
        """Return True if a label that was read back is unchanged and was made with this deployment's key."""
        try:
            label = msgspec.convert(dict(fields), AiLabel)
        except msgspec.ValidationError:
            return False
        return hmac.compare_digest(label.code.encode(), self._code(label).encode())

    def _code(self, label: AiLabel) -> str:
        key = hmac.new(self._secret.reveal().encode(), _PURPOSE, hashlib.sha256).digest()
        signed = msgspec.json.encode(msgspec.structs.replace(label, code=""))
        return hmac.new(key, signed, hashlib.sha256).hexdigest()


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
