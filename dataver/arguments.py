"""Checks of arguments: a number out of range and an unknown word are one `InvalidInput` each."""

from collections.abc import Sequence
from datetime import timedelta

from dataver.errors import InvalidInput

__all__ = ["check_range", "check_word"]


def check_range(
    name: str,
    value: float | timedelta | None,
    least: float | timedelta,
    most: float | timedelta | None = None,
    *,
    hint: str | None = None,
) -> None:
    """Raise an error if a value is not from `least` to `most`; None is accepted.

    Args:
        name: the argument.
        value: its value.
        least: the smallest value.
        most: the greatest value of the same type; None means that there is none.
        hint: the next step; by default the range.

    Raises:
        InvalidInput: it is outside, or not a number (NaN).
    """
    if value is not None and not (least <= value and (most is None or value <= most)):  # type: ignore[operator]
        allowed = f"at least {least}" if most is None else f"from {least} to {most}"
        raise InvalidInput(f"`{name}` is {value}.", hint=hint or f"choose a value {allowed}")


def check_word(name: str, value: str | None, words: Sequence[str]) -> None:
    """Raise an error if a value is none of the words; None is accepted.

    Raises:
        InvalidInput: it is another word.
    """
    if value is not None and value not in words:
        known = f"{', '.join(words[:-1])} or {words[-1]}"
        raise InvalidInput(f"unknown `{name}` {value!r}.", hint=f"choose {known}")
