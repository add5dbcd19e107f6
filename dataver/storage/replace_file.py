"""Replacing a small file atomically: readers see the old content or the new."""

import os
from pathlib import Path

from dataver.storage.base import TEMPORARY, BytesLike
from dataver.storage.lacking import flush, flush_folder

__all__ = ["replace_file"]


def replace_file(path: Path, *parts: BytesLike | str, durable: bool = False) -> None:
    """Write a file under a temporary name beside its final one, and rename it.

    Args:
        path: the file; its folder exists.
        parts: the content; text is written as UTF-8.
        durable: whether it must survive a power failure from the moment this returns.

    Raises:
        OSError: the write failed; the error names the file, and the old content stays.
    """
    temporary = path.with_name(f"{TEMPORARY}{os.urandom(8).hex()}")
    try:
        with temporary.open("xb") as file:
            for part in parts:
                file.write(part.encode() if isinstance(part, str) else part)
            if durable:
                file.flush()
                flush(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)
        raise
    if durable:
        flush_folder(path.parent)
