"""What the frozen repositories hold, and how they were made.

`python tests/golden/golden_contents.py FOLDER` makes such a repository, one of numbers and a small one.
Those in `format1/`, `format1-numbers/` and `format2/` are never made again: they stay as they were first
written, so that every later release must read them. A new format gets a folder beside them.
"""

import os
import struct
import sys
import tempfile
from pathlib import Path

from blake3 import blake3

# path: bytes of a file; ("run", bytes) of an executable; a text for a link; None for an empty folder
Contents = dict[str, bytes | tuple[str, bytes] | str | None]


def noise(name: str, size: int) -> bytes:
    """Return bytes that nothing compresses, the same everywhere: BLAKE3's extendable output."""
    return blake3(name.encode()).digest(size)


def table(rows: int, seed: int = 1) -> bytes:
    """Return a CSV that compresses like one."""
    return b"".join(b"%d,%d,label-%d\n" % (row, row * row * seed % 9973, row % 7) for row in range(rows))


def versions() -> dict[str, Contents]:
    """Return each version's contents by its label, in the order in which they were made."""
    first: Contents = {
        "data/noise.bin": noise("one", 70_000),
        "data/table.csv": table(8_000),
        "empty": b"",
        "empty folder": None,
        "link to table": "data/table.csv",
        "tools/run.sh": ("run", b"#!/bin/sh\necho hello\n"),
        "ü/日本 🐈.txt": "Grüße\n".encode(),
    }
    first |= {f"many/{number:04d}.txt": b"sample %d\n" % (number % 50) for number in range(5000)}
    second = dict(first)
    second["data/table.csv"] = table(8_000)[:60_000] + b"an inserted line\n" + table(8_000)[60_000:]
    second["many/2500.txt"] = b"changed\n"
    second["many/new.txt"] = noise("new", 40)
    second["renamed/noise.bin"] = second.pop("data/noise.bin")
    del second["empty folder"]
    third = dict(second)
    third["data/noise-twice.bin"] = noise("one", 70_000) * 2
    third["tools/run.sh"] = b"#!/bin/sh\necho hello\n"
    return {"1.0.0": first, "1.0.1": second, "2.0.0": third}


def small() -> dict[str, Contents]:
    """Return the versions of the frozen repository of format 2, which differs in its JSON objects only."""
    first: Contents = {"a.txt": b"one\n", "b/link": "../a.txt", "b/noise.bin": noise("small", 9_000)}
    return {"1.0.0": first, "1.0.1": first | {"a.txt": b"two\n"}, "1.0.2": first | {"c": None}}


def numbers() -> dict[str, Contents]:
    """Return versions that hold floating-point numbers: the high bytes of float32, float32, float64."""
    uniform = struct.unpack("<24000I", noise("numbers", 96_000))
    values = [(sum(uniform[at : at + 4]) / 2**31 - 4) / 50 for at in range(0, 24_000, 4)]
    single = struct.pack("<6000f", *values)
    half = b"".join(single[at + 2 : at + 4] for at in range(0, len(single), 4))
    files = {"1.0.0": half, "1.0.1": single, "1.0.2": struct.pack("<3000d", *values[:3000])}
    return {label: {"weights.bin": data} for label, data in files.items()}


def write(contents: Contents, folder: Path) -> None:
    """Write the contents into a folder."""
    for path, value in contents.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if value is None:
            place.mkdir()
        elif isinstance(value, str):
            place.symlink_to(value)
        else:
            run = isinstance(value, tuple)
            place.write_bytes(value[1] if isinstance(value, tuple) else value)
            place.chmod(0o755 if run else 0o644)


def read(folder: Path) -> Contents:
    """Return what a folder holds."""
    contents: Contents = {}
    for place in folder.rglob("*"):
        path = place.relative_to(folder).as_posix()
        if place.is_symlink():
            contents[path] = str(place.readlink())
        elif place.is_file():
            run = place.stat().st_mode & 0o100
            contents[path] = ("run", place.read_bytes()) if run else place.read_bytes()
        elif not any(place.iterdir()):
            contents[path] = None
    return contents


def make(folder: Path, wanted: dict[str, Contents] | None = None) -> dict[str, str]:
    """Make the repository in a new folder, or one of other versions; return the digest of each version."""
    import dataver

    repository = dataver.init(folder)
    digests, parents = {}, []
    with tempfile.TemporaryDirectory() as scratch:
        for label, contents in (wanted or versions()).items():
            source = Path(scratch) / label
            write(contents, source)
            draft = repository.create("golden/set", parents=parents, workspace=scratch)
            report = draft.sync(source)
            assert not report.problems
            version = draft.finalize(
                message=f"version {label}", label=label, metadata={"made for": ["tests", 1.5]}
            )
            version.upload()
            digests[label], parents = version.digest, [f"golden/set@{label}"]
    repository.tag("golden/set@1.0.0", "stable")
    repository.tag(parents[0], "stable")
    repository.tag("golden/set@1.0.1", "gone")
    repository.untag("golden/set", "gone")
    return digests


def make_small(folder: Path) -> None:
    """Make the repository of format 2 in a new folder, its last version deleted."""
    import dataver

    make(folder, small())
    dataver.open(folder).delete("golden/set@1.0.2", force=True)


def make_numbers(folder: Path) -> None:
    """Make the repository of numbers in a new folder."""
    import dataver

    repository = dataver.init(folder)
    with tempfile.TemporaryDirectory() as scratch:
        for label, contents in numbers().items():
            write(contents, Path(scratch) / label)
            draft = repository.create("golden/numbers", workspace=scratch)
            draft.sync(Path(scratch) / label)
            draft.finalize(message=f"version {label}", label=label).upload()


if __name__ == "__main__":
    os.environ["DATAVER_CACHE"] = tempfile.mkdtemp()
    for label, digest in make(Path(sys.argv[1])).items():
        print(label, digest)
    make_numbers(Path(f"{sys.argv[1]}-numbers"))
    make_small(Path(f"{sys.argv[1]}-small"))
