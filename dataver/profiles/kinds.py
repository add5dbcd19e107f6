"""The kinds of files that have profiles, by suffix, and the one function that profiles a file.

The idea: each kind is a module of this room with two functions, `cheap(source)`, which reads headers and
footers only, and `full(source)`; both return a `Profile`. They may raise anything for a hostile or broken
file: the exception becomes the profile's `problem`. A function that cannot say anything returns None. What
`cheap` reads is bounded here, for all kinds: headers of hostile files state any length.
"""

from __future__ import annotations

import importlib
import io
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final, TypeAlias, cast

from dataver.errors import IntegrityError, InvalidInput, StoreError
from dataver.extras import has_extra
from dataver.formats.profile import encode_profile
from dataver.tables import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KINDS", "SAMPLE", "Head", "Kind", "Profile", "Source", "encode", "kind_of", "make_profile"]

SAMPLE: Final = 200
"""Files of each kind that have cheap profiles in a draft, or a preview in full profiles."""

Profile: TypeAlias = dict[str, Any]
"""A JSON object: `kind`, `full`, perhaps `partial` and `problem`, and what the kind adds."""

_PROBLEM: Final = 300  # characters
_CHEAP: Final = 4 << 20  # bytes that a cheap profile reads; a file whose headers take more has none
_CALL: Final = 64  # bytes that any call counts as: headers of millions of tiny parts take time, too


@dataclass(frozen=True)
class Kind:
    """A kind of files.

    Attributes:
        name: its name in profiles.
        module: the module of this room with its functions.
        suffixes: of names, in lower case, separated by spaces; the longest one that matches decides.
        extra: the extra with the packages it needs; None if it needs none.
    """

    name: str
    module: str
    suffixes: str
    extra: str | None = None

    @property
    def available(self) -> bool:
        """Whether the packages that it needs are installed."""
        return self.extra is None or has_extra(self.extra)

    @property
    def group(self) -> str:
        """The group of objects in which its profiles lie."""
        return "tables" if self.name == "table" else "files"


@dataclass(slots=True)
class Source:
    """A file to profile.

    Attributes:
        name: its path in the version.
        size: its bytes.
        digest: of its content.
        kind: its kind.
        sampled: whether it is one of the sample of its kind, for which previews are made.
        open: opens it: seekable; the caller closes it. Reads only the ranges that are asked for.
        fetch: returns a local file with the bytes of a path, verified; without it, `path` makes a copy.
    """

    name: str
    size: int
    digest: bytes
    kind: Kind
    sampled: bool = False
    open: Callable[[], BinaryIO] = io.BytesIO
    fetch: Callable[[str], Path] | None = None
    _copy: IO[bytes] | None = None

    def path(self) -> Path:
        """Return a local file: the fetched one, or a temporary one, which `close` deletes. Only in `full`."""
        if self.fetch is not None:
            return self.fetch(self.name)
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


KINDS: Final = (
    Kind("image", "images", ".jpg .jpeg .png .gif .bmp .tif .tiff .webp .ppm .pgm", "images"),
    Kind("audio", "audio", ".wav .flac .ogg .oga .opus .mp3 .aif .aiff .au .caf", "audio"),
    Kind("array", "arrays", ".npy .npz .safetensors"),
    Kind("array", "hdf5", ".h5 .hdf5 .he5", "hdf5"),
    Kind("json", "json_shapes", ".json .geojson .ipynb"),
    Kind("archive", "archives", ".zip .tar .tar.gz .tgz .tar.bz2 .tar.xz"),
    Kind("table", "tables", SUFFIXES, "tables"),
    Kind(
        "text",
        "text",
        ".txt .md .rst .log .xml .html .htm .yaml .yml .toml .ini .cfg .py .sh .sql .srt .vtt .tex",
    ),
)

_BY_SUFFIX: Final = {suffix: kind for kind in KINDS for suffix in kind.suffixes.split()}


def kind_of(name: str) -> Kind | None:
    """Return the kind of a file by its name; None if files of that name have no profile."""
    base = name.rpartition("/")[2].lower()
    at = base.find(".", 1)
    while at > 0:
        if (found := _BY_SUFFIX.get(base[at:])) is not None:
            return found
        at = base.find(".", at + 1)
    return None


def make_profile(kind: Kind, source: Source, *, full: bool) -> Profile | None:
    """Return the profile of a file; None if there is nothing to say.

    Raises:
        StoreError, IntegrityError: the file cannot be read.
    """
    module = importlib.import_module(f"dataver.profiles.{kind.module}")
    common: Profile = {"kind": kind.name, "full": full}
    head = Head(source)
    try:
        found: Profile | None = module.full(source) if full else module.cheap(head)
    except (StoreError, IntegrityError):
        raise
    except Exception as error:  # noqa: BLE001  # what libraries raise for hostile bytes is not documented
        text = str(error)
        whole = isinstance(error, InvalidInput) or " " in text
        problem = (text if whole else f"{type(error).__name__}: {text}")[:_PROBLEM].rstrip(".")
        known = make_profile(kind, source, full=False) if full else None  # what can be said nevertheless
        found = (known or {}) | common | {"problem": problem}
    return None if found is None or head.left < 0 else common | found


def encode(source: Source, *, full: bool) -> tuple[bytes, str | None] | None:
    """Return the line of a file's profile and its problem; None if there is nothing to say."""
    profile = make_profile(source.kind, source, full=full)
    if profile is None:
        return None
    try:
        return encode_profile(profile), profile.get("problem")
    except InvalidInput as error:
        problem = f"its profile cannot be stored: {error.message}"
        return encode_profile({"kind": source.kind.name, "full": full, "problem": problem}), problem


class Head(Source):
    """A source of which `most` bytes can be read in all; `left` is negative if more were asked for."""

    def __init__(self, source: Source, most: int = _CHEAP) -> None:
        self.name, self.size, self.sampled = source.name, source.size, source.sampled
        self.open, self.fetch, self._copy = self._metered, None, None
        self.left, self._source = most, source

    def _metered(self) -> BinaryIO:
        return cast("BinaryIO", _Metered(self._source.open(), self))


class _Metered(io.RawIOBase):
    """A file that ends, as if it were cut, where its source has no bytes left: every library handles that."""

    def __init__(self, file: BinaryIO, head: Head) -> None:
        self._file, self._head = file, head

    def read(self, size: int = -1) -> bytes:
        rest = max(0, self._head.size - self._file.tell())
        size = rest if size is None or size < 0 else min(size, rest)
        self._head.left -= max(size, _CALL)
        return self._file.read(size) if self._head.left >= 0 else b""

    def readinto(self, buffer: Any, /) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()
