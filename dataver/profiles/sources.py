"""Files as sources of profiles, and profiles as lines to store."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, Final, NamedTuple, TypeAlias

from dataver.errors import InvalidInput
from dataver.formats.profile import encode_profile
from dataver.profiles.kinds import Kind, make_profile

if TYPE_CHECKING:
    from dataver.profiles.kinds import Source

__all__ = ["SAMPLE", "OpenedFile", "Opening", "Target", "encode", "group_of"]

SAMPLE: Final = 200
"""Files of each kind that have cheap profiles in a draft, or a preview in full profiles."""

Opening: TypeAlias = Callable[[], BinaryIO]


class Target(NamedTuple):
    """A file to profile; `sampled` as of a `Source`."""

    path: str
    size: int
    digest: bytes
    kind: Kind
    sampled: bool = False


class OpenedFile:
    """A file that is opened by a function, and fetched by another one."""

    def __init__(self, target: Target, opening: Opening, fetch: Callable[[str], Path] | None = None) -> None:
        self.name, self.size, self.digest, _, self.sampled = target
        self.open, self._fetch = opening, fetch
        self._copy: IO[bytes] | None = None

    def path(self) -> Path:
        """Return a local file: the fetched one, or a temporary one, which `close` deletes."""
        if self._fetch is not None:
            return self._fetch(self.name)
        if self._copy is None:
            suffix = "-" + self.name.rpartition("/")[2][-50:]
            self._copy = tempfile.NamedTemporaryFile(prefix="dataver-", suffix=suffix)  # noqa: SIM115
            with self.open() as file:
                shutil.copyfileobj(file, self._copy)
            self._copy.flush()
        return Path(self._copy.name)

    def close(self) -> None:
        """Delete the temporary file."""
        if self._copy is not None:
            self._copy.close()


def group_of(kind: Kind) -> str:
    """Return the group of objects in which the profiles of a kind lie."""
    return "tables" if kind.name == "table" else "files"


def encode(kind: Kind, source: Source, *, full: bool) -> tuple[bytes, str | None] | None:
    """Return the line of a file's profile and its problem; None if there is nothing to say."""
    profile = make_profile(kind, source, full=full)
    if profile is None:
        return None
    try:
        return encode_profile(profile), profile.get("problem")
    except InvalidInput as error:
        problem = f"its profile cannot be stored: {error.message}"
        return encode_profile({"kind": kind.name, "full": full, "problem": problem}), problem
