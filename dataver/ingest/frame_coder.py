"""Choice of a frame's codec, raw, zstd, or grouped bytes and zstd, from the gains on earlier frames.

The idea: adjacent frames of the raw stream mostly belong to one file, so the codec of one frame is used for
the next without a trial. Photos: after a few frames without a gain, a frame is only probed. Numbers: if zstd
gains little, a sample is tried grouped by 2, 4 and 8 bytes, and the best stride is kept while frames continue
to shrink as much. Text is not tried: zstd gains enough.

Several threads read and write this state without a lock: each value is replaced as a whole, and a lost update
costs one more trial, never a wrong byte. So equal files may be stored differently.
"""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from dataver.formats.byte_shuffle import STRIDES, group, has_noise
from dataver.formats.compression import Compressor, make_compressor, make_plane_compressor
from dataver.formats.frame import CODEC_RAW, encode_payload, parse_header

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["SMALL_CHUNK", "FrameCoder"]

SMALL_CHUNK = 8 * 1024  # average length below which a frame's chunks are small
_SMALL_LEVEL = (
    3  # level for such frames: 5 % smaller, while the compressing threads wait for the reader anyway
)
_DULL = 4  # raw frames in a row after which a frame is only probed
_PROBE = 16 * 1024  # bytes of a frame compressed as a probe

# docs/decisions/0008-bytes-of-numbers-are-grouped.md has the measurements
_SAMPLE = 32 * 1024  # bytes of a frame that are tried grouped
_LITTLE = 0.5  # try only if zstd leaves at least this share: text and tables shrink more, numbers seldom
_GAIN = 0.97  # grouped bytes must take less than this share of the size without grouping
_TERM = 128  # frames after which a winning stride is compared with zstd again: 16 MB
_PAID = 16  # frames that repay the search for a stride: columns of tables end sooner
_PATIENCE = 128  # most frames between two trials if grouping does not win, or not for long


class _Habit(NamedTuple):
    """Codec of the next `left` frames, until the next trial.

    `wait` is the number of frames without a trial after the next one that fails.
    """

    stride: int
    left: int
    wait: int


class _Contexts(NamedTuple):
    plain: Compressor
    small: Compressor
    planes: Compressor


class FrameCoder:
    """Encoder of the frames of one session. Thread-safe."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._local = threading.local()
        self._dull = 0
        self._habit = _Habit(1, 0, 1)

    @property
    def dull(self) -> bool:
        """Whether the next frame will probably be stored raw, which takes hardly any time."""
        return self._dull >= _DULL

    def encode(self, payload: memoryview, lengths: Sequence[int]) -> tuple[bytes, "Buffer"]:
        """Return a frame's header and stored bytes, as `encode_payload` does."""
        contexts = self._contexts()
        size = len(payload)
        if size < SMALL_CHUNK * len(lengths):
            return encode_payload(payload, lengths, contexts.small)
        if self.dull and len(contexts.plain(payload[:_PROBE])) > _PROBE * 49 // 50:
            return encode_payload(payload, lengths, None)  # photos and the like
        habit = self._habit
        if habit.left:
            self._habit = habit._replace(left=habit.left - 1)
            if habit.stride > 1:
                header, stored = encode_payload(payload, lengths, contexts.planes, stride=habit.stride)
                if _as_expected(header, stored, size):
                    return header, stored
                self._disappointed(habit)
        header, stored = encode_payload(payload, lengths, contexts.plain)
        found = parse_header(header)
        self._dull = self._dull + 1 if found.codec == CODEC_RAW else 0
        if not habit.left and not self._dull and found.stored_length > _LITTLE * size:
            stride = _best_stride(payload, contexts)
            if stride > 1:
                self._habit = _Habit(stride, _TERM, habit.wait)
                return encode_payload(payload, lengths, contexts.planes, stride=stride)
            self._disappointed(habit)
        return header, stored

    def _disappointed(self, habit: _Habit) -> None:
        wait = 1 if habit.stride > 1 and _TERM - habit.left >= _PAID else habit.wait
        self._habit = _Habit(1, wait, min(2 * wait, _PATIENCE))

    def _contexts(self) -> _Contexts:
        found: _Contexts | None = getattr(self._local, "contexts", None)
        if found is None:
            level = self._level
            found = self._local.contexts = _Contexts(
                make_compressor(level),
                make_compressor(max(level, _SMALL_LEVEL)),
                make_plane_compressor(level),
            )
        return found


def _best_stride(payload: memoryview, contexts: _Contexts) -> int:
    """Return the stride that compresses a sample from the frame's middle best, or 1."""
    middle = max(0, len(payload) - _SAMPLE) // 2
    sample = bytearray(payload[middle : middle + _SAMPLE])
    bar = int(_GAIN * min(len(sample), len(contexts.plain(sample))))
    best, least = 1, bar
    for stride in reversed(STRIDES):  # if any stride gains, the widest does; narrower ones are faster
        size = len(group(sample, stride, contexts.planes))
        if size > bar:
            break
        if size <= least + least // 200:
            best, least = stride, min(least, size)
    return best


def _as_expected(header: bytes, stored: "Buffer", size: int) -> bool:
    """Return whether a grouped frame still holds numbers: some planes shrink and some are noise."""
    codec = parse_header(header).codec
    return codec in STRIDES and has_noise(stored, codec, size)
