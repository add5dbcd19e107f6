"""Repositories written by git-lfs: every version comes over, byte for byte."""

import subprocess
from pathlib import Path

from dataver.importers.checksums import hasher


def test_a_pointer_names_the_bytes_by_their_sha256(tmp_path: Path) -> None:
    """The identifier of an object is the checksum by which it is verified."""
    path = tmp_path / "file"
    path.write_bytes(b"data" * 1000)
    command = ["git", "lfs", "pointer", f"--file={path}"]
    pointer = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    ours = hasher("sha256", 4000)
    ours.update(path.read_bytes())
    assert f"oid sha256:{ours.hexdigest()}\nsize 4000\n" in pointer
