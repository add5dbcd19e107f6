"""Verification of a whole repository: all versions, and every object except lineage.

The idea: versions share blocks, packs and files, so each is checked once, however many versions need it. One
walk loads the blocks of all versions and records their shape (`dataver.tree.many_trees`); files are verified
leaf by leaf in path order, where the leaves of successive versions are adjacent, and a file that was just
verified is skipped. Packs and blocks that no version needs are verified as well, because `add` reuses their
chunks.

Serves invariants 1 and 10. Changes nothing. Objects that a concurrent gc deletes are not findings.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from dataver import parallel
from dataver.checkout.pack_verifier import Inspection
from dataver.checkout.version_verifier import ExternalVerifier, VerifyReport, file_problem
from dataver.errors import FormatTooNew, IntegrityError, NotFound
from dataver.formats.block import Inner, Leaf, parse_block
from dataver.formats.block_object import MAX_BLOCK
from dataver.formats.canonical_json import MAX_JSON
from dataver.formats.config import parse_config
from dataver.formats.entry import Kind, is_external
from dataver.formats.external import MAX_EXTERNAL, parse_external
from dataver.formats.keeping import parse_hold, parse_retired, parse_sweep, parse_turn
from dataver.progress import SILENT, Progress
from dataver.repository.history import other_totals, read_histories
from dataver.repository.layout import CONFIG, HOLDS, RETIRED, SWEEPS, TURNS, block_key
from dataver.repository.marking import Inventory, list_inventory
from dataver.repository.read_again import reread
from dataver.short_repr import short_repr
from dataver.tree import Forest, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dataver.formats.entry import Entry
    from dataver.repository import RepositoryCore
    from dataver.repository.history import Histories
    from dataver.storage import ObjectInfo

__all__ = ["RepositoryReport", "verify_repository"]

_RECENT: Final = 100_000  # files remembered, ~10 MB
_WINDOW: Final = 1_000  # objects requested together
_UNNEEDED: Final = "; no version needs it"
_NOTES: Final[dict[str, Callable[[bytes], object]]] = {
    HOLDS: parse_hold,
    SWEEPS: parse_sweep,
    RETIRED: parse_retired,
    TURNS: parse_turn,
}


@dataclass(slots=True)
class RepositoryReport(VerifyReport):
    """Result of verifying a whole repository.

    `files` and `size` count a file once that several versions or paths share, and `findings` name it once:
    `name@label/path`.

    Attributes:
        versions: versions checked.
        objects: objects checked.
        stored: bytes of these objects.
        affected: versions, as `name@label`, whose record, blocks or files are damaged.
    """

    versions: int = 0
    objects: int = 0
    stored: int = 0
    affected: list[str] = field(default_factory=list)

    __repr__ = short_repr


def verify_repository(
    repo: RepositoryCore, *, quick: bool = False, progress: Progress = SILENT
) -> RepositoryReport:
    """Verify all versions of a repository, and every object in it except lineage.

    Args:
        repo: the repository.
        quick: as for `verify_version`.
        progress: receives counts of files and bytes, and as `new` of stored bytes read.

    Raises:
        StoreError: the store failed.
    """
    return _Verification(repo, quick, progress).run()


class _Verification:
    def __init__(self, repo: RepositoryCore, quick: bool, progress: Progress) -> None:
        self._repo, self._quick, self._progress = repo, quick, progress
        self._report = RepositoryReport()
        self._forest = Forest()
        self._needed: set[bytes] = set()  # packs
        self._owners: dict[bytes, str] = {}

    def run(self) -> RepositoryReport:
        repo, report = self._repo, self._report
        repo.blocks.refresh()  # bypasses caches
        self._small_objects()
        history = read_histories(repo)
        self._count(history.objects, history.size)
        report.versions = len(history.versions)
        report.findings += history.findings
        roots = {name: facts.tree for name, facts in history.versions.items()}
        affected = history.affected | self._walk(history)
        self._owners = self._forest.owners(roots)
        inventory = list_inventory(repo.store)  # listed after the records, so their objects are in it
        for infos in inventory:
            self._count(len(infos), sum(info.size for info in infos.values()))
        self._unneeded_blocks(inventory)
        self._external_packs(inventory)
        leaves = {leaf for leaf, _ in self._clashes(roots)} | self._contents(inventory)
        hit = self._forest.hit(roots.values(), leaves)
        affected |= {name for name, root in roots.items() if root in hit}
        report.affected = sorted(affected)
        return report

    def _count(self, objects: int, size: int) -> None:
        self._report.objects += objects
        self._report.stored += size

    # objects that are parsed

    def _small_objects(self) -> None:
        store, findings = self._repo.store, self._report.findings
        try:
            config = store.stat(CONFIG)
        except NotFound:
            findings.append((CONFIG, "is missing"))
        else:
            findings += self._parsed([(config, parse_config)], MAX_JSON)
            self._count(1, config.size)
        for prefix, parse in _NOTES.items():
            infos = list(store.list(prefix))
            findings += self._parsed(((info, parse) for info in infos), MAX_JSON)
            self._count(len(infos), sum(info.size for info in infos))

    def _external_packs(self, inventory: Inventory) -> None:
        def parser(pack: bytes) -> Callable[[bytes], object]:
            return lambda data: parse_external(data, pack)

        externals = ((info, parser(pack)) for pack, info in inventory.packs.items() if is_external(pack))
        self._report.findings += self._parsed(externals, MAX_EXTERNAL)

    def _unneeded_blocks(self, inventory: Inventory) -> None:
        """Parse the blocks that no version needs; one whose base is gone waits for gc and is no finding."""
        store = self._repo.store

        def load(digest: bytes) -> bytes:
            return store.get_bounded(block_key(digest), MAX_BLOCK)

        def parser(digest: bytes) -> Callable[[bytes], object]:
            def parse(data: bytes) -> None:
                block = parse_block(data, digest, load)
                if not isinstance(block, Inner):
                    block.packs()

            return parse

        rest = ((info, parser(each)) for each, info in inventory.blocks.items() if each not in self._forest)
        for key, why in self._parsed(rest, MAX_BLOCK):
            self._report.findings.append((f"tree block {key.rpartition('/')[2]}", f"{why}{_UNNEEDED}"))

    def _parsed(
        self, objects: Iterable[tuple[ObjectInfo, Callable[[bytes], object]]], most: int
    ) -> Iterator[tuple[str, str]]:
        """Yield the key of each damaged object, and the reason; objects that are gone are skipped."""

        def problem(work: tuple[ObjectInfo, Callable[[bytes], object]]) -> str:
            info, parse = work
            try:
                reread(lambda _: parse(self._repo.store.get_bounded(info.key, most)))
            except NotFound:
                return ""
            except (IntegrityError, FormatTooNew) as error:
                return error.message
            return ""

        source = iter(objects)
        with self._pool() as pool:
            while some := list(islice(source, _WINDOW)):
                for (info, _), why in zip(some, pool.map(problem, some), strict=True):
                    if why:
                        yield info.key, why

    # versions

    def _walk(self, history: Histories) -> set[str]:
        """Load the blocks of all versions; return the versions whose record differs from their tree."""
        forest, report = self._forest, self._report
        roots: dict[bytes, tuple[int, int, int] | None] = {
            each.tree: None for each in history.versions.values()
        }
        files = size = 0

        def note(digest: bytes, error: IntegrityError | FormatTooNew) -> None:
            forest.bad.add(digest)
            report.findings.append((f"tree block {digest.hex()}", error.message))

        with self._pool() as pool:
            for block in walk(roots, self._repo.blocks.load, across=pool.map, on_error=note):
                forest.add(block)
                if block.digest in roots:
                    roots[block.digest] = block.entry_count, block.file_count, block.byte_count
                if isinstance(block, Leaf):
                    self._needed |= block.packs()
                    files += block.file_count
                    size += block.byte_count
        self._progress.start(files, size)
        wrong = set()
        for name, facts in history.versions.items():
            there = roots[facts.tree]
            if there is not None and there != facts.totals:
                wrong.add(name)
                report.findings.append((name, other_totals(facts.totals, there)))
        return wrong

    def _clashes(self, roots: dict[str, bytes]) -> Iterator[tuple[bytes, str]]:
        for leaf, path in self._forest.clashes(roots.values(), self._repo.blocks.load):
            self._report.findings.append((self._name(leaf, path), "is also a folder of other files"))
            yield leaf, path

    def _contents(self, inventory: Inventory) -> set[bytes]:
        """Verify all packs, and the files of all leaves; return the leaves with damaged files."""
        repo, report = self._repo, self._report
        packs = {pack for pack in inventory.packs.keys() | self._needed if not is_external(pack)}
        external = ExternalVerifier(repo, self._progress, quick=self._quick)
        with Inspection(repo, self._progress, quick=self._quick) as inspection:
            inspection.files(entry for entry in self._files() if not external.takes(entry))
            inspection.rest(sorted(packs))
            bad = inspection.bad
            for pack in [each for each in bad.keys() - self._needed if not repo.packs.exists(each)]:
                del bad[pack]  # gc has deleted it meanwhile
            report.packs = len(packs) - len(bad)
            repo.soundness.mark(bad, sound=packs - bad.keys())
            for pack, why in sorted(bad.items()):
                rest = "" if pack in self._needed else _UNNEEDED
                report.findings.append((f"pack {pack.hex()}", f"{why}{rest}"))
            problems = dict(inspection.wrong) | external.run()
            leaves = self._damaged(problems, inspection) if problems or bad else set()
        report.findings += sorted(problems.items())
        return leaves

    def _files(self) -> Iterator[Entry]:
        """Yield each file of each leaf, named by the first version that has it, unless just yielded."""
        recent = _Recent()
        for digest in self._forest.leaves():
            skipped = size = 0
            for entry in self._entries(digest):
                if _key(entry) in recent:
                    skipped += 1
                    size += entry.size
                    continue
                self._report.files += 1
                self._report.size += entry.size
                yield entry._replace(path=self._name(digest, entry.path))
            self._progress.advance(skipped, size)

    def _entries(self, leaf: bytes) -> Iterator[Entry]:
        block = self._repo.blocks.load(leaf)
        assert isinstance(block, Leaf)
        return (entry for entry in block.entries() if entry.kind in (Kind.FILE, Kind.EXECUTABLE))

    def _name(self, block: bytes, path: str) -> str:
        return f"{self._owners[block]}/{path}"

    def _damaged(self, problems: dict[str, str], inspection: Inspection) -> set[bytes]:
        """Add the files in damaged packs to the problems; return the leaves with a file that has one."""
        found: set[bytes] = set()
        known: dict[bytes, bool] = {}  # damaged files of damaged packs, and those with problems
        for digest in self._forest.leaves():
            for entry in self._entries(digest):
                key, name = _key(entry), self._name(digest, entry.path)
                if name in problems:
                    known[key] = True
                elif key not in known and any(extent.pack in inspection.bad for extent in entry.extents):
                    why = file_problem(self._repo, entry._replace(path=name), inspection, self._quick)
                    known[key] = why is not None
                    if why is not None:
                        problems[name] = why
                if known.get(key):
                    found.add(digest)
        return found

    def _pool(self) -> Any:
        return parallel.pool(parallel.REQUESTS if self._repo.store.local_root is None else 1, "verify")


class _Recent:
    """The keys of the files yielded last, at least `_RECENT` of them."""

    def __init__(self) -> None:
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()

    def __contains__(self, key: bytes) -> bool:
        """Return whether a key is among them, and add it."""
        if key in self._young:
            return True
        found = key in self._old
        self._young.add(key)
        if len(self._young) >= _RECENT:
            self._old, self._young = self._young, set()
        return found


def _key(entry: Entry) -> bytes:
    """Return a digest of a file's content and the location of its bytes, so that damage cannot collide."""
    found = blake2b(entry.digest + entry.size.to_bytes(8, "little"), digest_size=16)
    for extent in entry.extents:
        found.update(b"%b %d %d %d %d" % extent)
    return found.digest()
