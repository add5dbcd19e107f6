"""Sending packs while others are still being filled, through a spool of bounded size.

The idea: a pack that is complete in the spool folder is sent at once by one of a few threads and, when the
store has it, taken out of the spool. The spool never holds more than its bound: before a new pack is opened
the writer waits until there is room, the frames behind it wait for the writer, and the reader for those. So a
slow network slows the reader down, and what is added may be larger than the local disk.

    pack complete (finisher's thread) → put_file_new → into the local index → noted as sent → out of the spool

Keeps invariants 4 (a pack leaves the spool only when `put_file_new` has returned, so it is always in one of
the two places; what was sent and is never needed is an unreferenced object, which gc sweeps), 5 (the note of
what was sent is a hint; publishing asks the store for every pack) and 6 (a pack is durable in the spool,
later in the store). A pack counts with the room it may take before it is opened, and with its real size when
it is complete.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from dataver.errors import InvalidInput
from dataver.ingest.known import spooled
from dataver.repository.layout import pack_key
from dataver.storage import Store

__all__ = ["LEAST_SPOOL", "SPOOL", "PackSender", "check_spool", "note_sent", "sent_before"]

SPOOL = 256 << 20
"""Bytes a spool may hold where nobody says otherwise: eight packs of the usual size."""

LEAST_SPOOL = 16 << 20
"""Bytes below which packs would become so small that requests take longer than bytes."""

_PARALLEL = 4  # packs on their way at once
_SHARES = 4  # packs that fit into a spool at least: one being filled, the others on their way
_MARGIN = 640 * 1024  # what the last frame and its part of the footer may take beyond the size of a pack
_NOTE = "sent"  # in the draft's folder: the packs that the store has, a line of hex each


class PackSender:
    """Sends the packs of one command. `end` must be called; sizes are in bytes.

    Args:
        store: where packs go.
        spool: the folder they lie in until then; what lies there already is sent too.
        limit: how much may lie there.
        pack_size: the size at which packs are to be closed, where the spool has room for it.
        frame: the most bytes of one frame.
        on_sent: called with a pack's id, by the thread that sent it, before the pack leaves the spool.

    Attributes:
        pack_size: the size at which packs are to be closed, so that several fit into the spool.
        room: bytes kept free for a pack before it is opened.
        full: bytes of frames and footer at which it is closed, so that it does not become larger than that.
        packs: how many were sent so far.
        size: their bytes.
    """

    def __init__(
        self,
        store: Store,
        spool: Path,
        *,
        limit: int,
        pack_size: int,
        frame: int,
        on_sent: Callable[[bytes], None],
    ) -> None:
        margin = _MARGIN + frame
        limit = max(limit, 2 * _SHARES * margin)  # of huge chunks a few must fit, too
        self.room = min(limit // _SHARES, pack_size + max(margin, pack_size // 8))
        self.full = self.room - margin
        self.pack_size = min(pack_size, self.full)
        self.packs = self.size = 0
        self._store = store
        self._spool = spool
        self._limit = limit
        self._on_sent = on_sent
        self._changed = threading.Condition()
        self._used = 0
        self._failure: BaseException | None = None
        self._closing = False
        self._sending: list[Future[None]] = []
        self._pool = ThreadPoolExecutor(_PARALLEL, "dataver-send")
        for path in spooled(spool):
            self._begin(path, path.stat().st_size, kept_free=0)

    def make_room(self, given_up: Callable[[], bool]) -> None:
        """Wait until a pack of `room` bytes fits into the spool.

        Raises:
            StoreError: a pack could not be sent.
            InterruptedError: `given_up` answered yes.
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
        """Take a pack that is complete in the spool, for which room was made."""
        path = self._spool / pack_id.hex()
        self._begin(path, path.stat().st_size, kept_free=self.room)

    def leave_the_rest(self) -> None:
        """Begin to send nothing more: packs that are finished from now on stay in the spool."""
        with self._changed:
            self._closing = True

    def finish(self) -> None:
        """Wait until everything is in the store, or after `leave_the_rest` what is on its way.

        Raises:
            StoreError: a pack could not be sent; it and those behind it are in the spool.
        """
        if not self._closing:
            for each in self._sending:
                each.result()
        self.end()
        if self._failure is not None:
            raise self._failure

    def end(self) -> None:
        """Send nothing more, and end the threads when what is on its way has arrived."""
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
        """Send one pack; a failure is kept for those who ask for room, and nothing is sent after it."""
        with self._changed:
            if self._closing or self._failure is not None:
                return
        pack_id = bytes.fromhex(path.name)
        try:
            self._store.put_file_new(pack_key(pack_id), path)
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
    """Return the bound of a spool, in bytes, if it can be one.

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
    """Note in a draft's folder that the store has a pack; a hint for when the index is lost."""
    fd = os.open(folder / _NOTE, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
    try:
        os.write(fd, f"{pack_id.hex()}\n".encode())
    finally:
        os.close(fd)


def sent_before(folder: Path) -> set[bytes]:
    """Return the packs noted in a draft's folder; lines that a crash has torn are left out."""
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
