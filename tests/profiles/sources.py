"""Sources of profiles for tests."""

import io
import warnings
from typing import Any

from dataver.profiles.kinds import kind_of, make_profile


class Bytes:
    """A source with these bytes."""

    def __init__(self, name: str, data: bytes, *, sampled: bool = True) -> None:
        self.name, self.size, self.sampled, self._data = name, len(data), sampled, data

    def open(self) -> io.BytesIO:
        return io.BytesIO(self._data)


def profile(name: str, data: bytes, *, full: bool = True, sampled: bool = True) -> dict[str, Any]:
    kind = kind_of(name)
    assert kind is not None
    with warnings.catch_warnings(action="ignore"):  # as the callers do
        found = make_profile(kind, Bytes(name, data, sampled=sampled), full=full)
    assert found is not None
    return found
