"""Versions as a remote of DVC 3, with the `.dvc` file that names their data.

    files/md5/<2>/<30>            objects: the bytes of each content, by MD5
    files/md5/<2>/<30>.dir        the files of the version, as JSON
    <name>.dvc                    to be put into a DVC repository that has the folder as a remote

Objects that are there already stay, so several versions of a dataset share a folder.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from dataver.api.version import Version
from dataver.exporters.contents import contents, is_file, unnamed_file
from dataver.progress import Progress
from dataver.storage.durable import replace_file

__all__ = ["write_dvc"]


def write_dvc(folder: Path, version: Version, progress: Progress) -> Path:
    """Write the objects, then the list of files, then the `.dvc` file; return its path."""
    names: dict[bytes, str] = {}  # of contents, their MD5
    unique = {entry.digest: entry for entry in version.entries() if is_file(entry)}
    for entry, pieces in contents(version, unique.values(), progress):
        names[entry.digest] = _object(folder, pieces, "")
    files = [
        {"md5": names[entry.digest], "relpath": entry.path} for entry in version.entries() if is_file(entry)
    ]
    files.sort(key=lambda each: each["relpath"])
    listed = json.dumps(files, sort_keys=True).encode()  # DVC compares these bytes with their MD5
    name = version.dataset.rpartition("/")[2]
    path = folder / f"{name}.dvc"
    replace_file(
        path,
        f"outs:\n- md5: {_object(folder, [listed], '.dir')}.dir\n  size: {version.size}\n"
        f"  nfiles: {len(files)}\n  hash: md5\n  path: {json.dumps(name)}\n",
    )
    return path


def _object(folder: Path, pieces: Iterable[bytes], suffix: str) -> str:
    """Write an object, and return its MD5."""
    objects, md5 = folder / "files" / "md5", hashlib.md5(usedforsecurity=False)
    objects.mkdir(parents=True, exist_ok=True)
    with unnamed_file(objects) as (partial, out):
        for piece in pieces:
            md5.update(piece)
            out.write(piece)
        out.close()
        name = md5.hexdigest()
        path = objects / name[:2] / (name[2:] + suffix)
        path.parent.mkdir(exist_ok=True)
        partial.replace(path)
    return name
