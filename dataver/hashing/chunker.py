"""Content-defined chunking of a stream of bytes: FastCDC 2020.

The idea: a cut point depends on the bytes just before it and on the start of the chunk, so an insertion moves
the nearby cuts and leaves distant ones unchanged. `docs/format.md` has the algorithm, its source and its
parameters; tests pin the cut points. Readers of a repository never cut.

Keeps invariant 7: buffers in, offsets out. It neither reads nor hashes; memory is bounded by the caller's
buffer, since at most `maximum - 1` bytes are ever left over between two buffers.
"""

from __future__ import annotations

import functools
import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from dataver.errors import FormatTooNew, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pyfastcdc import Chunk, FastCDC

# Imports in functions: the chunker is a foreign package that only `add` needs.

__all__ = ["BUFFER_SIZE", "Chunker", "ChunkingParameters", "chunk_stream"]

BUFFER_SIZE: Final = 4 * 1024 * 1024
ALGORITHM: Final = "fastcdc2020"

SLOW_CUTTING: Final = (
    "pyfastcdc is installed without its compiled form, so cutting files into chunks is about 200 times "
    "slower: reinstall it with "
    "'PYFASTCDC_REQUIRE_CYTHON=1 pip install --force-reinstall --no-cache-dir pyfastcdc' "
    "on a machine with a C compiler, or use a Python version for which it has wheels"
)


@dataclass(frozen=True, slots=True)
class ChunkingParameters:
    """Parameters of FastCDC, sizes in bytes. Part of a repository's configuration and fixed for its life.

    Attributes:
        average: target size, a power of two from 256 B to 4 MiB.
        minimum: lower limit, except for the last chunk of a stream; 64 B to `average`.
        maximum: upper limit; `average` to 16 MiB.
        normalization: how strongly sizes tend to the average, 0 to 3 (the paper's NC).
        algorithm: the only one defined.
    """

    average: int = 16 * 1024
    minimum: int = 4 * 1024
    maximum: int = 64 * 1024
    normalization: int = 1
    algorithm: str = ALGORITHM

    def __post_init__(self) -> None:
        if self.algorithm != ALGORITHM:
            raise InvalidInput(
                f"the chunking algorithm {self.algorithm!r} is unknown; there is {ALGORITHM!r}"
            )
        for name in ("average", "minimum", "maximum", "normalization"):
            if type(getattr(self, name)) is not int:
                raise InvalidInput(f"the chunking parameter {name!r} is not a whole number")
        if not 256 <= self.average <= 4 * 1024 * 1024 or self.average & (self.average - 1):
            raise InvalidInput(
                f"an average chunk size of {self.average} is not a power of two from 256 to 4194304",
                hint="the default, 16384, is suitable for nearly all data",
            )
        most, least = min(self.average, 1024 * 1024), max(self.average, 1024)
        if not 64 <= self.minimum <= most:
            raise InvalidInput(f"a minimum chunk size of {self.minimum} is not from 64 to {most}")
        if not least <= self.maximum <= 16 * 1024 * 1024:
            raise InvalidInput(f"a maximum chunk size of {self.maximum} is not from {least} to 16777216")
        if not 0 <= self.normalization <= 3:
            raise InvalidInput(f"a chunk size normalization of {self.normalization} is not from 0 to 3")

    @classmethod
    def for_average(cls, average: int) -> ChunkingParameters:
        """Return the usual parameters around an average: a quarter of it to four times it."""
        return cls(average=average, minimum=average // 4, maximum=average * 4)

    def to_dict(self) -> dict[str, int | str]:
        """Return the parameters as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ChunkingParameters:
        """Return the parameters from the result of `to_dict`.

        Raises:
            InvalidInput: a value is missing or out of its range.
            FormatTooNew: an unknown name or algorithm.
        """
        missing = sorted(cls.__dataclass_fields__.keys() - values.keys())
        if missing:
            raise InvalidInput(f"the chunking parameter {missing[0]!r} is missing")
        unknown = sorted(values.keys() - cls.__dataclass_fields__.keys())
        if unknown or values["algorithm"] != ALGORITHM:
            what = f"parameter {unknown[0]!r}" if unknown else f"algorithm {values['algorithm']!r}"
            raise FormatTooNew(
                f"the chunking {what} is unknown to this version", hint="install a newer dataver"
            )
        return cls(**values)


class Chunker:
    """Finds cut points; keeps no bytes and no state between calls.

    Cheap to make. Not to be shared between threads: use one per thread.
    """

    __slots__ = ("_cut", "_maximum", "params")

    def __init__(self, params: ChunkingParameters | None = None) -> None:
        self.params = params or ChunkingParameters()
        self._maximum = self.params.maximum
        self._cut: Callable[[bytes | bytearray | memoryview], Iterator[Chunk]] | None = None

    def ends(self, buffer: bytes | bytearray | memoryview) -> Iterator[int]:
        """Yield the end offsets of the chunks in `buffer`, each computed on demand.

        The buffer begins at the start of a chunk. A chunk that ends at the buffer's end and is shorter than
        `maximum` might be longer if more bytes followed.
        """
        for chunk in self._chunks(buffer):
            yield chunk.offset + chunk.length

    def cut(self, buffer: bytes | bytearray | memoryview, *, final: bool) -> list[int]:
        """Return the end offsets of the chunks in `buffer` that no later byte can change.

        The buffer begins at the start of a chunk. The caller prepends the bytes after the last offset (less
        than `maximum`) to the next buffer. With `final` the stream ends here, and the last offset is the
        buffer's length. An empty buffer gives an empty list.
        """
        ends = [chunk.offset + chunk.length for chunk in self._chunks(buffer)]
        if ends and not final:
            start = ends[-2] if len(ends) > 1 else 0
            if ends[-1] - start < self._maximum:
                ends.pop()
        return ends

    def _chunks(self, buffer: bytes | bytearray | memoryview) -> Iterator[Chunk]:
        """Cut. The package is imported on first use, since adding unchanged files cuts nothing."""
        if self._cut is None:
            self._cut = _fastcdc()(
                self.params.average,
                min_size=self.params.minimum,
                max_size=self.params.maximum,
                normalized_chunking=self.params.normalization,  # type: ignore[arg-type]  # checked: 0 to 3
            ).cut_buf
        return self._cut(buffer)


def chunk_stream(
    readinto: Callable[[memoryview], int | None],
    params: ChunkingParameters | None = None,
    buffer_size: int = BUFFER_SIZE,
) -> Iterator[memoryview]:
    """Yield the chunks of a stream in order, in bounded memory.

    Args:
        readinto: fills a part of the given buffer and returns the number of bytes; 0 or None at the end.
        params: the parameters; defaults if not given.
        buffer_size: memory to use; at least twice the maximum chunk size is used.

    Each view is valid until the next one is requested.
    """
    chunker = Chunker(params)
    buffer = memoryview(bytearray(max(buffer_size, 2 * chunker.params.maximum)))
    held, final = 0, False
    while not final:
        while held < len(buffer) and not final:
            count = readinto(buffer[held:])
            held, final = held + (count or 0), not count
        start = 0
        for end in chunker.cut(buffer[:held], final=final):
            yield buffer[start:end]
            start = end
        rest = bytes(buffer[start:held])
        held = len(rest)
        buffer[:held] = rest


@functools.cache
def _fastcdc() -> type[FastCDC]:
    """Import pyfastcdc, and warn once, with the remedy, if only its slow form is installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own warning states no remedy
        from pyfastcdc import FastCDC
    if not FastCDC.__module__.startswith("pyfastcdc.cy"):
        warnings.warn(SLOW_CUTTING, RuntimeWarning, stacklevel=4)
    return FastCDC
