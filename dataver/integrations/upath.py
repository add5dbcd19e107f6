"""Versions as paths, for `universal_pathlib` (entry point `universal_pathlib.implementations`).

    from upath import UPath

    folder = UPath("dataver://vision/cats@1.2.0/train")
    for path in folder.glob("*.jpg"):
        path.read_bytes()

Read-only, as the file system below it is (`dataver.fs`).
"""

from upath.core import UPath

__all__ = ["DataverPath"]


class DataverPath(UPath):
    """A path in a repository: a folder of names, a version, or what is in one."""

    __slots__ = ()
