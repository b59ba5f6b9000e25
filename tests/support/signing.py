"""The keys of an environment, for messages that tests publish by themselves."""

from __future__ import annotations

from collections.abc import Mapping

from messages.bodies import Stage
from messages.signing import MessageKeys
from runtime.message_keys import open_keys
from runtime.settings import load_settings

__all__ = ["keys_of"]


def keys_of(environ: Mapping[str, str]) -> MessageKeys:
    """Keys with which a worker of this environment signs and checks."""
    return open_keys(load_settings(environ), Stage)
