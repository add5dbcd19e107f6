"""A repository of a few kilobytes that has every kind of object, and what is in it."""

import os
import random
import struct
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import dataver
from dataver.errors import DataverError
from dataver.formats.bundle import parse_attachment
from dataver.formats.config import parse_config
from dataver.formats.event import Event, Link, RunFacts, Subset
from dataver.formats.external import parse_external
from dataver.formats.keeping import Hold, Retired, Sweep, parse_hold, parse_retired, parse_sweep, parse_turn
from dataver.formats.pack import MAGIC, FooterBuilder, check_pack
from dataver.formats.record import parse_record
from dataver.formats.tag import parse_tag_move
from dataver.formats.tombstone import parse_tombstone
from dataver.repository.blocks import Blocks
from dataver.repository.events import Events
from dataver.repository.layout import (
    hold_key,
    pack_key,
    parse_object_key,
    retired_key,
    sweep_key,
    swept_key,
)
from dataver.storage.local import LocalStore

__all__ = ["KINDS", "make", "refused"]

KINDS = (
    "dataver.json",
    "datasets/d/tags/",
    "datasets/d/versions/1.0.0.json",
    "datasets/d/versions/1.0.1.json",
    "datasets/d/versions/1.0.2.tombstone",
    "datasets/e/",
    "externals/",
    "keeping/holds/",
    "keeping/retired/",
    "keeping/sweeps/",
    "keeping/swept/",
    "lineage/2026-11/",
    "lineage/attachments/",
    "packs/",
    "trees/",
    "turns/",
)
"""Where its objects lie."""

_PARSERS: dict[str, Callable[[bytes], object]] = {
    "dataver.json": parse_config,
    "/tags/": parse_tag_move,
    ".tombstone": parse_tombstone,
    "/versions/": parse_record,
    "keeping/holds/": parse_hold,
    "keeping/retired/": parse_retired,
    "keeping/sweeps/": parse_sweep,
    "keeping/swept/": bytes,
    "turns/": parse_turn,
}
ENDS_A_BLOCK = "f2937"  # a path whose hash says that the block ends behind it
_MOMENT = datetime(2026, 11, 5, 12, 0, tzinfo=UTC)


def make(root: Path) -> Path:
    """Make the repository in a new folder; beside it lie its sources and the external files."""
    noise, repo, source = random.Random(3), dataver.init(root / "repo", chunk_size=256), root / "source"
    (source / "deep" / "er").mkdir(parents=True)
    for number in range(6):
        (source / "deep" / f"{number}").write_bytes(noise.randbytes(60))
    (source / ENDS_A_BLOCK).write_bytes(b"a line that compresses\n" * 30)
    (source / "link").symlink_to("deep/1")
    (source / "numbers").write_bytes(struct.pack("<60f", *(number / 7 for number in range(60))))
    (source / "run").write_bytes(b"#!/bin/sh\n")
    (source / "run").chmod(0o755)
    (source / "void").touch()
    work = {"workspace": root, "message": "m"}
    repo.sync(source, "d", **work)
    (source / "deep" / "1").write_bytes(noise.randbytes(70))
    repo.sync(source, "d", **work)
    (source / "gone").write_bytes(noise.randbytes(20))
    repo.sync(source, "d", **work)
    (source / "gone").unlink()
    for label in ("1.0.0", "1.0.1"):
        repo.tag(f"d@{label}", "prod")
    repo.delete("d@1.0.2", reason="none")
    _external(repo, root, noise)
    _lineage(repo)
    _notes(repo, root)
    return root / "repo"


def _external(repo: dataver.Repository, root: Path, noise: random.Random) -> None:
    (root / "outside").mkdir()
    for number in range(2):
        (root / "outside" / f"{number}").write_bytes(noise.randbytes(50))
    draft = repo.create("e", workspace=root)
    draft.add_external(root / "outside")
    draft.finalize().upload()


def _lineage(repo: dataver.Repository) -> None:
    """Write one event by itself, and two in a bundle; one of them lists the files it read."""
    events, record = Events(repo._core.store), repo._core.resolve("d@1.0.1")
    listed = events.attach(b'["deep/1","run"]')
    written = []
    for number, subset in enumerate((Subset(), Subset(paths=("deep/1",)), Subset(listed=listed))):
        run = RunFacts(
            key=f"dataver:{number}", process=f"{number}" * 32, sequence=0, started=_MOMENT, ended=_MOMENT
        )
        link = Link(
            role="input",
            dataset="d",
            label="1.0.1",
            record=record.record_id,
            tree=record.record.tree.hex(),
            subset=subset,
            files=2,
            size=80,
            time=_MOMENT,
            how="read",
        )
        milliseconds = int(_MOMENT.timestamp() * 1000) + number
        id_ = f"{milliseconds:012x}{number:020x}"
        written.append(Event(id=id_, written=_MOMENT, tool="dataver 0.1", run=run, links=(link,)))
    events.put(written[0])
    events.put_bundle(written[1:])


def _notes(repo: dataver.Repository, root: Path) -> None:
    """Leave what writers and sweeps leave that died, and old objects that these notes alone keep."""
    unneeded, footer = FooterBuilder().encode()
    repo._core.store.put(pack_key(unneeded), MAGIC + footer)
    old = time.time() - 60 * 86400
    for path in (root / "repo").rglob("*/*/*"):
        os.utime(path, (old, old))
    tree = repo._core.records.tombstone("d", "1.0.2").tree
    repo._core.store.put(hold_key("1" * 32), Hold(tree=tree, owner={}).encode())
    gone = Sweep(keys=(f"packs/00/{'0' * 64}",), owner={"host": "elsewhere", "pid": 1})
    repo._core.store.put(sweep_key("2" * 32), gone.encode())
    repo._core.store.put(swept_key("3" * 32), b"")
    repo._core.store.put(retired_key("4" * 32), Retired(packs=(unneeded,)).encode())


def refused(repo: Path, key: str) -> bool:
    """Tell whether the parser of an object refuses what the repository has under its key."""
    name = parse_object_key(key)
    data = (repo / key).read_bytes()
    try:
        if key.startswith("trees/"):
            Blocks(LocalStore(repo), None).load(name)
        elif name is not None:
            (check_pack if key.startswith("packs/") else parse_external)(data, name)
        elif key.startswith("lineage/attachments/"):
            parse_attachment(data, key.rpartition("/")[2])
        elif key.startswith("lineage/"):
            Events(LocalStore(repo)).parse(key, data)
        else:
            next(parse for part, parse in _PARSERS.items() if part in key)(data)
    except (DataverError, StopIteration):
        return True
    return False
