"""A git repository whose data DVC keeps."""

import json
import os
from pathlib import Path

from dvc.repo import Repo
from dvc_data.hashfile.hash import file_md5
from fsspec.implementations.local import LocalFileSystem

from importers.git_repository import GitRepository

CRLF = b"name,age\r\nana,3\r\n" * 100


class DvcRepository(GitRepository):
    """Twelve commits, by `make`; further ones by `change`.

    Args:
        folder: its folder.
        configuration: the text of `.dvc/config`.
    """

    def __init__(self, folder: Path, configuration: str) -> None:
        super().__init__(folder)
        os.chdir(folder)
        Repo.init().close()
        self.write({".dvc/config": configuration.encode()})
        self.commit("init")

    @property
    def dvc(self) -> Repo:
        """DVC on the current state."""
        return Repo(str(self.folder))

    def change(self, message: str, files: dict[str, bytes | None], *targets: str) -> str:
        """Write files, have DVC keep the targets, and commit; return the commit."""
        self.write(files)
        with self.dvc as dvc:
            for target in targets:
                dvc.add(target)
        return self.commit(message)

    def old(self, name: str, files: dict[str, bytes]) -> None:
        """Keep a folder as DVC 2 did, with its checksums, and objects at the root of the cache."""
        rows = [{"md5": self._keep(data), "relpath": path} for path, data in sorted(files.items())]
        md5 = self._keep(json.dumps(rows).encode(), ".dir")
        self.write({f"{name}.dvc": f"outs:\n- md5: {md5}\n  path: {name}\n".encode()})

    def _keep(self, data: bytes, end: str = "") -> str:
        self.write({".dvc/tmp/new": data})
        path = self.folder / ".dvc" / "tmp" / "new"
        md5 = file_md5(str(path), LocalFileSystem(), name="md5-dos2unix") + end
        target = self.folder / ".dvc" / "cache" / md5[:2] / md5[2:]
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
        return md5

    def make(self) -> None:
        """Make the twelve commits."""
        first = {
            "data/a.bin": b"a" * 5000,
            "data/sub/b.bin": b"b" * 70_000,
            "data/empty": b"",
            "raw.csv": CRLF,
        }
        self.change("first", first, "data", "raw.csv")
        self.change("change", {"data/a.bin": b"A" * 5000, "data/sub/b.bin": None, "data/c/d/e": b"e"}, "data")
        self.commit("code", {"train.py": b"print(1)\n"})
        self.run("tag", "v1")
        with self.dvc as dvc:
            dvc.move("data", "images")
        self.commit("rename")
        self.run("checkout", "-qb", "feature")
        self.change("more", {"more/x": b"x", "more/y": b"a" * 5000}, "more")
        self.change("yet more", {"more/z": b"z" * 9}, "more")
        self.run("checkout", "-q", "main")
        with self.dvc as dvc:
            dvc.checkout(force=True)
            command = "python3 -c \"open('out.txt','w').write('no');open('m.json','w').write('1')\""
            dvc.run(name="make", cmd=command, deps=["raw.csv"], outs=["out.txt"], metrics_no_cache=["m.json"])
        self.commit("stage")
        ignored = (self.folder / ".gitignore").read_bytes() + b"/more\n/old\n"
        more = self.run("show", "feature:more.dvc").encode() + b"\n"
        self.merge("feature", files={"more.dvc": more, ".gitignore": ignored})
        self.old("old", {"text.txt": CRLF, "sub/unix.txt": b"1\n", "binary": b"\0\r\n" * 99})
        self.commit("of DVC 2")
        with self.dvc as dvc:
            dvc.checkout(force=True)
        self.run("tag", "images@v1.0.0")
        self.change("of DVC 3", {"old/sub/unix.txt": b"2\n"}, "old")
        (self.folder / "no").write_bytes(b"#!/bin/sh\n")
        (self.folder / "no").chmod(0o755)
        self.change("executable", {"raw.csv.dvc": None, "raw.csv": None}, "no")
        self.run("tag", "images#prod#1")
