"""The total of files and bytes to add, counted by a second scan beside the first, for a progress bar."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from dataver.errors import DataverError
from dataver.ingest.scan import Scan, scan
from dataver.progress import Progress

__all__ = ["counted"]

_PATIENCE = 0.5  # seconds of work before a total is worth a second scan


@contextmanager
def counted(sources: Sequence[str | Path], how: Scan, progress: Progress) -> Iterator[None]:
    """Count the sources on another thread and give `progress` the totals, unless the block ends before.

    Args:
        sources: files and folders.
        how: the options; it is not changed.
        progress: receives the totals; nothing is counted for one that is silent.
    """
    if getattr(progress, "silent", False):
        yield
        return
    done = threading.Event()
    thread = threading.Thread(target=_count, args=(sources, how, progress, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _count(sources: Sequence[str | Path], how: Scan, progress: Progress, done: threading.Event) -> None:
    if done.wait(_PATIENCE):
        return
    files = size = 0
    try:
        for source in sources:
            for folder in scan(source, replace(how, problems=[], ignored=0, left_out=set(), unseen=[])):
                if done.is_set():
                    return
                files += len(folder)
                size += sum(found.stat.size for found in folder)
    except (DataverError, OSError):
        return  # the other scan reports it
    progress.start(files, size)
