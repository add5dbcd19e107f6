"""Uploading packs while others are being filled, through a spool of bounded size.

The idea: one of a few threads sends a complete pack from the spool folder and then removes it there. The
spool never exceeds its limit: before it opens a new pack the writer waits for room, frames wait for the
writer, and the reader waits for frames. So a slow network slows the reader down, and the data may exceed the
local disk.

    pack complete (finisher's thread) → put_file_new → local index → recorded as sent → removed from the spool

Keeps invariants 4 (a pack leaves the spool only when `put_file_new` has returned, so it is always in one of
the two places; a sent pack that is never needed is an unreferenced object, which gc sweeps), 5 (the record of
sent packs is a hint; publishing checks every pack in the store) and 6 (a pack is durable in the spool, later
in the store). A pack counts with the most room it may take until it is complete, then with its real size.
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dataver import parallel
from dataver.errors import InvalidInput
from dataver.ingest.dedup import spooled

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["LEAST_SPOOL", "SPOOL", "PackSender", "check_spool", "note_sent", "sent_before"]

SPOOL = 256 << 20
"""Default limit of a spool in bytes: eight packs of the usual size."""

LEAST_SPOOL = 16 << 20
"""Smallest limit in bytes: with smaller packs, requests would take longer than their bytes."""

_SHARES = 4  # least number of packs in a spool: one being filled, the others being sent
_MARGIN = 640 * 1024  # bytes by which the last frame and its part of the footer may exceed the size of a pack
_NOTE = "sent"  # in the draft's folder: the packs that the store has, one hex id per line


class PackSender:
    """Uploader of the packs of one command. `end` must be called; sizes are in bytes.

    Args:
        send: uploads a pack, given its id and its file.
        spool: the folder of unsent packs; packs already there are sent too.
        limit: the limit of the spool.
        pack_size: the size at which packs should be closed, if the spool has room for it.
        frame: the most bytes of one frame.
        on_sent: called with a pack's id, by the thread that sent it, before the pack leaves the spool.

    Attributes:
        pack_size: the size at which packs should be closed, so that several fit into the spool.
        room: bytes reserved for a pack before it is opened.
        full: bytes of frames and footer at which a pack is closed, so that it does not exceed `room`.
        packs: the number of packs sent so far.
        size: their bytes.
    """

    def __init__(
        self,
        send: Callable[[bytes, Path], None],
        spool: Path,
        *,
        limit: int,
        pack_size: int,
        frame: int,
        on_sent: Callable[[bytes], None],
    ) -> None:
        margin = _MARGIN + frame
        limit = max(limit, 2 * _SHARES * margin)  # a few huge chunks must fit, too
        self.room = min(limit // _SHARES, pack_size + max(margin, pack_size // 8))
        self.full = self.room - margin
        self.pack_size = min(pack_size, self.full)
        self.packs = self.size = 0
        self._put = send
        self._spool = spool
        self._limit = limit
        self._on_sent = on_sent
        self._changed = threading.Condition()
        self._used = 0
        self._failure: BaseException | None = None
        self._closing = False
        self._sending: list[Future[None]] = []
        self._pool = parallel.pool(parallel.PACKS, "send")
        for path in spooled(spool):
            self._begin(path, path.stat().st_size, kept_free=0)

    def make_room(self, given_up: Callable[[], bool]) -> None:
        """Wait until a pack of `room` bytes fits into the spool.

        Raises:
            StoreError: a pack could not be sent.
            InterruptedError: `given_up` returned True.
        """
        with self._changed:
            while self._failure is None and self._used and self._used + self.room > self._limit:
                if given_up():
                    raise InterruptedError("abandoned")
                self._changed.wait(0.2)
            if self._failure is not None:
                raise self._failure
            self._used += self.room

    def finished(self, pack_id: bytes) -> None:
        """Send a complete pack in the spool, for which room was made."""
        path = self._spool / pack_id.hex()
        self._begin(path, path.stat().st_size, kept_free=self.room)

    def leave_the_rest(self) -> None:
        """Stop sending new packs: packs finished from now on stay in the spool."""
        with self._changed:
            self._closing = True

    def finish(self) -> None:
        """Wait until all packs are sent, or after `leave_the_rest` those being sent.

        Raises:
            StoreError: a pack could not be sent; it and later ones are in the spool.
        """
        if not self._closing:
            for each in self._sending:
                each.result()
        self.end()
        if self._failure is not None:
            raise self._failure

    def end(self) -> None:
        """Stop sending, and end the threads once the packs being sent have arrived."""
        self.leave_the_rest()
        self._pool.shutdown(wait=True)

    def _begin(self, path: Path, size: int, *, kept_free: int) -> None:
        with self._changed:
            self._used += size - kept_free
            if self._closing or self._failure is not None:
                return
            self._sending = [each for each in self._sending if not each.done()]
            self._sending.append(self._pool.submit(self._send, path, size))

    def _send(self, path: Path, size: int) -> None:
        """Send one pack; after a failure, which `make_room` raises, nothing more is sent."""
        with self._changed:
            if self._closing or self._failure is not None:
                return
        pack_id = bytes.fromhex(path.name)
        try:
            self._put(pack_id, path)
            self._on_sent(pack_id)
            path.unlink()
        except BaseException as failure:  # noqa: BLE001  # handed to the caller's thread, which asks for room
            with self._changed:
                self._failure = self._failure or failure
                self._changed.notify_all()
            return
        with self._changed:
            self._used -= size
            self.packs += 1
            self.size += size
            self._changed.notify_all()


def check_spool(size: int) -> int:
    """Return the limit of a spool, in bytes, after checking it.

    Raises:
        InvalidInput: it is too small for a few packs.
    """
    if size < LEAST_SPOOL:
        raise InvalidInput(
            f"a spool of {size} bytes is too small to send packs from.",
            hint=f"give it {LEAST_SPOOL >> 20} MB or more",
        )
    return size


def note_sent(folder: Path, pack_id: bytes) -> None:
    """Record in a draft's folder that the store has a pack; a hint in case the index is lost."""
    fd = os.open(folder / _NOTE, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
    try:
        os.write(fd, f"{pack_id.hex()}\n".encode())
    finally:
        os.close(fd)


def sent_before(folder: Path) -> set[bytes]:
    """Return the packs recorded as sent in a draft's folder; skip lines torn by a crash."""
    try:
        lines = (folder / _NOTE).read_bytes().split(b"\n")
    except FileNotFoundError:
        return set()
    found = set()
    for line in lines:
        try:
            pack_id = bytes.fromhex(line.decode("ascii"))
        except ValueError:
            continue
        if len(pack_id) == 32:
            found.add(pack_id)
    return found
