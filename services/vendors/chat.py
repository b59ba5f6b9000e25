"""The port of chat models: a question with pictures, and an answer that fits a schema.

Asking again costs tokens only, so a question may be repeated; what is paid by the call is in `services.vendors.port`.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

import msgspec

from services.vendors.usage import Usage

__all__ = ["ChatAnswer", "ChatModel", "ChatRequest", "ChatWrapper"]

A = TypeVar("A", bound=msgspec.Struct)


class ChatRequest(msgspec.Struct, Generic[A], frozen=True):
    """A question to a chat model."""

    system: str
    """The model's instructions."""
    text: str
    """The question itself."""
    answer: type[A]
    """Schema of the answer. The model is shown it, and an answer that does not fit is never returned."""
    images: tuple[str, ...] = ()
    """URLs that the vendor can read; secrets while they live."""
    most_tokens: int = 2000
    """Tokens of the answer, at most."""


class ChatAnswer(msgspec.Struct, Generic[A], frozen=True):
    """An answer that fits its schema."""

    value: A
    usage: Usage
    """Of every question that it took."""
    model: str
    """The model that answered, as the vendor names it."""


class ChatModel(Protocol):
    """A chat model of a vendor, with one key of ours."""

    @property
    def name(self) -> str:
        """Short name of the vendor for recipes, logs and metrics."""
        ...

    @property
    def label(self) -> str:
        """Names the account of our key."""
        ...

    @property
    def model(self) -> str:
        """The model that is asked."""
        ...

    @property
    def most_images(self) -> int:
        """Largest number of pictures of a question."""
        ...

    @property
    def image_limit(self) -> int:
        """Largest picture, in bytes."""
        ...

    async def ask(self, request: ChatRequest[A], *, timeout: float) -> ChatAnswer[A]:  # noqa: ASYNC109 - of the whole question
        """Ask a question, and once more where the answer does not fit.

        Args:
            request: the question.
            timeout: seconds for both together.

        Raises:
            services.errors.VendorDown: no answer, or none of the model's: the vendor or our key as such fails.
            services.errors.VendorFull: over a limit of our key; see `retry_after`.
            services.errors.VendorRefused: it will never be answered. Its code is `CONTENT_VIOLATION` where the vendor
                or the model refuses the contents.
            services.errors.AnswerUnfit: the second answer did not fit its schema either.
        """
        ...

    async def check(self) -> None:
        """Return if the vendor takes our key and knows the model; costs nothing.

        Raises:
            services.errors.VendorDown: no usable answer, or the key is refused.
            services.errors.VendorFull: over a limit of our key.
            services.errors.VendorRefused: the key has no such model.
        """
        ...

    async def close(self) -> None:
        """Drop connections."""
        ...


class ChatWrapper:
    """Facts of a chat model that something is put around; a subclass adds `ask` and so implements `ChatModel`.

    Args:
        model: the client, or another wrapper.
    """

    def __init__(self, model: ChatModel) -> None:
        self._model = model

    @property
    def name(self) -> str:
        """See the port."""
        return self._model.name

    @property
    def label(self) -> str:
        """See the port."""
        return self._model.label

    @property
    def model(self) -> str:
        """See the port."""
        return self._model.model

    @property
    def most_images(self) -> int:
        """See the port."""
        return self._model.most_images

    @property
    def image_limit(self) -> int:
        """See the port."""
        return self._model.image_limit

    async def check(self) -> None:
        """See the port."""
        await self._model.check()

    async def close(self) -> None:
        """See the port."""
        await self._model.close()
