"""Drives hf-xet, in its own environment: `add FOLDER STORE MANIFEST` or `restore MANIFEST STORE DEST`.

`local://` is the store that hf-xet's developers test with: chunks in xorbs and shards in a folder, as on the
hub. It keeps no names, so a manifest beside it does.
"""

import json
import sys
from pathlib import Path

from hf_xet import XetFileInfo, XetSession


def add(folder: Path, store: Path, manifest: Path) -> None:
    """Upload every file and write down its hash and size under its name."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    with XetSession().new_upload_commit(endpoint=f"local://{store}") as commit:
        uploads = [commit.start_upload_file(str(file)) for file in files]
    done = [upload.result().xet_info for upload in uploads]
    names = [file.relative_to(folder).as_posix() for file in files]
    manifest.write_text(
        json.dumps({name: (info.hash, info.file_size) for name, info in zip(names, done, strict=True)})
    )


def restore(manifest: Path, store: Path, dest: Path) -> None:
    """Download every file of a manifest to its name."""
    with XetSession().new_file_download_group(endpoint=f"local://{store}") as group:
        for name, (digest, size) in json.loads(manifest.read_text()).items():
            target = dest / name
            target.parent.mkdir(parents=True, exist_ok=True)
            group.start_download_file(XetFileInfo(digest, size), str(target))


if __name__ == "__main__":
    deed, *paths = sys.argv[1:]
    {"add": add, "restore": restore}[deed](*map(Path, paths))
