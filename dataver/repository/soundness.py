"""Soundness of the packs that a new version refers to, and the packs known to be damaged.

The idea: an existing pack may be damaged, and reading all of them is too slow. So a pack of another process
is checked without extra requests: its size, from the existence check, is compared with its cached footer;
without a cached footer, the footer is read instead. In a local store, the frames of some packs are also
compared with their checksums. The result is stored on this machine and valid while size and time of the pack
are unchanged.

Packs that `verify` or an upload found damaged are *marked* in a local file, by repository and location. A
marked pack is read in full before a version refers to it; so content of a damaged pack is stored again when
it is added again. A mark is a hint (invariant 5): without it only this check is lost.
"""

import contextlib
import threading
from collections.abc import Iterable
from functools import cached_property, partial
from pathlib import Path
from typing import Final

from dataver.errors import IntegrityError, NotFound
from dataver.formats.entry import is_external
from dataver.formats.pack import MAGIC, Footer, check_frame, check_magic
from dataver.machine.paths import make_private
from dataver.repository.frame_reader import FrameReader
from dataver.repository.layout import pack_key
from dataver.repository.packs import Packs
from dataver.storage import Store
from dataver.storage.base import Data
from dataver.storage.durable import replace_file

__all__ = ["DamagedPacks", "Soundness"]

_FOOTERS: Final = 64  # footers that one process reads from a remote store if they are not cached
_MOST_KEPT: Final = 4 << 20  # bytes of the file of sound packs, which is then started again
_LEAST: Final = 40  # bytes of a pack without frames
_READ: Final = 64 << 20  # bytes of packs in a local store that one process reads: ~50 ms


class DamagedPacks(IntegrityError):
    """Packs that a version refers to are missing or damaged."""


class Soundness:
    """Known soundness of the packs of one repository; thread-safe.

    Args:
        store: the repository's store.
        packs: its packs.
        folder: the folder of the local files.
        name: the `local_name` of the repository.
    """

    def __init__(self, store: Store, packs: Packs, folder: Path, name: str) -> None:
        self._store, self._packs = store, packs
        self._path, self._sound_path = folder / "damaged" / name, folder / "sound" / name
        self._fresh: dict[bytes, str] = {}  # verified packs, not saved yet
        self._known: dict[bytes, bool] = {}
        self._lock = threading.Lock()
        self._footers, self._bytes = _FOOTERS, _READ

    @cached_property
    def marked(self) -> set[bytes]:
        """The packs that were found damaged."""
        with contextlib.suppress(OSError, ValueError):
            return {bytes.fromhex(line) for line in self._path.read_text("ascii").split()}
        return set()

    def mark(self, damaged: Iterable[bytes], sound: Iterable[bytes] = ()) -> None:
        """Record packs as damaged, and others as sound."""
        damaged, sound = set(damaged), set(sound)
        with self._lock:
            self._known |= dict.fromkeys(damaged, False) | dict.fromkeys(sound, True)
            marked = (self.marked - sound) | damaged
            if marked == self.marked:
                return
            self.marked = marked
            with contextlib.suppress(OSError):  # a hint only
                make_private(self._path.parent)
                replace_file(self._path, *(f"{pack.hex()}\n" for pack in sorted(marked)))

    def has(self, pack_id: bytes, *, again: bool = False) -> bool:
        """Return whether a pack exists and appears undamaged.

        Args:
            pack_id: the pack; an external one is only checked for existence.
            again: check the store again, since the pack may have been deleted or restored.

        Raises:
            FormatTooNew: it was written by a newer dataver.
        """
        found = self._known.get(pack_id)
        if found and again:
            found = self._packs.exists(pack_id)
        elif found is None or again:
            found = self._check(pack_id)
        self._known[pack_id] = found
        return found

    def send(self, pack_id: bytes, path: Path) -> None:
        """Put a pack from a file; replace a damaged one of its name."""
        key = pack_key(pack_id)
        if not self._store.put_file_new(key, path) and not self.has(pack_id, again=True):
            self._store.replace(key, path.read_bytes())
        if self._store.local_root is not None:
            with contextlib.suppress(NotFound):  # a sweep may delete it at once; the upload checks again
                stamp = self._store.stat(key).stamp
                if stamp is not None:
                    self._fresh[pack_id] = stamp
        self.mark((), sound=(pack_id,))

    def put(self, pack_id: bytes, data: Data) -> None:
        """Put a pack from memory; replace a damaged one of its name."""
        key = pack_key(pack_id)
        if not self._store.put_new(key, data) and not self.has(pack_id, again=True):
            self._store.replace(key, data)
        self.mark((), sound=(pack_id,))

    def save(self) -> None:
        """Save the verified packs for other processes; a failure is ignored."""
        with self._lock:
            fresh, self._fresh = self._fresh, {}
        if not fresh:
            return
        self._remembered |= fresh
        with contextlib.suppress(OSError):
            make_private(self._sound_path.parent)
            full = self._sound_path.exists() and self._sound_path.stat().st_size > _MOST_KEPT
            with self._sound_path.open("w" if full else "a", encoding="utf-8") as file:
                file.writelines(f"{pack.hex()} {stamp}\n" for pack, stamp in fresh.items())

    @cached_property
    def _remembered(self) -> dict[bytes, str]:
        with contextlib.suppress(OSError, ValueError):
            lines = self._sound_path.read_text("utf-8").splitlines()
            return {bytes.fromhex(line[:64]): line[65:] for line in lines}
        return {}

    def _check(self, pack_id: bytes) -> bool:
        if is_external(pack_id):
            return self._packs.exists(pack_id)
        near, marked = self._store.local_root is not None, pack_id in self.marked
        stamp = None
        try:
            if near and not marked:
                stamp = self._store.stat(pack_key(pack_id)).stamp
                if stamp is not None and self._remembered.get(pack_id) == stamp:
                    return True
            if not (near or marked):
                size = self._packs.kept_size(pack_id)
                if size is not None or not self._spend(footers=1):
                    there = self._store.stat(pack_key(pack_id)).size
                    if there == size or (size is None and there > _LEAST):
                        return True
            footer = self._packs.stored_footer(pack_id)
            if marked or (near and self._spend(size=footer.frame_offsets[-1])):
                self._check_frames(footer)
                if stamp is not None:
                    self._fresh[pack_id] = stamp
        except (IntegrityError, NotFound):
            return False
        return True

    def _check_frames(self, footer: Footer) -> None:
        """Compare the frames of a pack with their checksums."""
        offsets = footer.frame_offsets
        run = FrameReader(self._packs).run(footer.pack_id, 0, offsets[-1])
        run.frame(0, len(MAGIC), lambda data, _: check_magic(data))
        for number in range(footer.frame_count):
            check = partial(_check_stored, footer, number)
            run.frame(offsets[number], offsets[number + 1], check)

    def _spend(self, *, footers: int = 0, size: int = 0) -> bool:
        """Return whether the budget of reads allows this one, and subtract it."""
        with self._lock:
            if self._footers < footers or (size and self._bytes <= 0):
                return False
            self._footers -= footers
            self._bytes -= size
            return True


def _check_stored(footer: Footer, number: int, data: memoryview, at: int) -> None:
    check_frame(footer, number, data, at, None)
