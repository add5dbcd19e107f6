"""Questions to the client package of another tool, whose errors differ by package and release."""

from collections.abc import Callable
from typing import Final, TypeVar

from dataver.errors import StoreError

__all__ = ["ask"]

_T = TypeVar("_T")
_PERMANENT: Final = {401, 403, 404, 410, 451}  # states of HTTP that a repetition does not change


def ask(question: Callable[[], _T], what: str, hint: str) -> _T:
    """Return the answer of a client.

    Args:
        question: asks it.
        what: what is read, for the error.
        hint: how to get access, for the error.

    Raises:
        StoreError: the client raised any error; `transient` unless the server's answer is final.
    """
    try:
        return question()
    except Exception as error:
        state = getattr(getattr(error, "response", None), "status_code", None)
        text = " ".join(str(error).split()).removesuffix(".") or type(error).__name__
        raise StoreError(
            f"{what} cannot be read: {text}.", hint=hint, transient=state not in _PERMANENT
        ) from error
