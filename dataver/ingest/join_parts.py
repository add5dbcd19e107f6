"""Joining the parts of workers into the draft that was forked.

The idea: the parts are merged as sorted streams, so that equal paths meet; their entries change the tree that
was forked, and the result is merged three-way with the draft's tree. So the cost grows with the parts, a part
that was joined before changes nothing, and a path that two workers, or a worker and the draft, changed
differently is found. An entry of a part states its path's content, also if that is the content when the draft
was forked: a draft that has changed or removed it differs. So does a later part, and as a merge cannot tell,
the draft keeps these entries as a tree of their own (`DraftState.stated`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge as merge_sorted
from itertools import islice
from typing import NamedTuple

from dataver import parallel
from dataver.errors import Conflict, IntegrityError, InvalidInput, NotFound
from dataver.formats.block import Inner, Leaf, parse_block
from dataver.formats.entry import Entry, Kind, same_content
from dataver.formats.fork import MAX_BLOCKS, Part, fingerprint, parse_blocks
from dataver.ingest.add_operation import changes_with
from dataver.ingest.draft_store import DraftStore
from dataver.ingest.scan import Scan
from dataver.short_repr import short_repr
from dataver.tree import Tree, build, diff, edit, merge

__all__ = ["JoinReport", "join_parts"]

_BATCH = 50_000  # entries of one edit


@dataclass
class JoinReport:
    """Result of joining parts. Sizes in bytes.

    Attributes:
        parts: parts joined.
        entries: their entries; one that several parts contain counts once.
        size: the bytes of their files.
    """

    parts: int = 0
    entries: int = 0
    size: int = 0

    __repr__ = short_repr


class _Row(NamedTuple):
    """An entry and the worker that added it; sorts by path."""

    path: str
    number: int
    entry: Entry
    worker: str


def join_parts(draft: DraftStore, given: Iterable[Part]) -> JoinReport:
    """Merge parts into a draft; see `dataver.Draft.join`."""
    parts = list(given) if isinstance(given, Iterable) else None
    if parts is None or not all(isinstance(part, Part) for part in parts):
        raise InvalidInput(
            f"`parts` is not a list of parts: {given!r:.60}.",
            hint="give a list of parts; `dataver.Part.from_json` reads JSON",
        )
    for part in parts:
        if (part.draft, part.repository) != (draft.id, fingerprint(draft.repository.id)):
            raise InvalidInput(
                f"the part of {part.worker} belongs to draft {part.draft}, not to draft {draft.id}.",
                hint="join it to the draft whose token the worker had",
            )
    report = JoinReport(len(parts))
    with parallel.pool(parallel.REQUESTS, "parts") as pool:
        trees = list(pool.map(lambda part: _tree_of(draft, part), parts))
    with draft.changing():
        for base in dict.fromkeys(part.base for part in parts):
            some = [(part, tree) for part, tree in zip(parts, trees, strict=True) if part.base == base]
            _join(draft, bytes.fromhex(base), some, report)
        draft.commit()
    return report


def _tree_of(draft: DraftStore, part: Part) -> Tree:
    data = part.blocks
    if part.key:
        try:
            data = draft.repository.store.get_bounded(part.key, MAX_BLOCKS)
        except NotFound as error:
            raise IntegrityError(
                f"the part of {part.worker} is no longer in {draft.repository.url}.",
                hint="let the worker add its files again",
            ) from error
    objects = parse_blocks(data, part.digest)

    def load(digest: bytes) -> Leaf | Inner:
        if digest not in objects:
            raise IntegrityError(f"the part of {part.worker} lacks the block {digest.hex()}.")
        return parse_block(objects[digest], digest, objects.__getitem__)

    return Tree(bytes.fromhex(part.tree), load)


def _rows(parts: Sequence[tuple[Part, Tree]]) -> Iterator[_Row]:
    """Yield the entries of all parts in path order."""

    def one(number: int, part: Part, tree: Tree) -> Iterator[_Row]:
        return (_Row(entry.path, number, entry, part.worker) for entry in tree.iterate())

    return merge_sorted(*(one(number, *each) for number, each in enumerate(parts)))


def _checked(rows: Iterable[_Row]) -> Iterator[Entry]:
    """Yield each path once.

    Raises:
        Conflict: two workers added different content, or one a file and the other a folder.
    """
    above: list[_Row] = []  # files whose paths are prefixes of the current one
    last: _Row | None = None
    for row in rows:
        if last is not None and last.path == row.path:
            if not same_content(last.entry, row.entry):
                raise _clash(last.worker, row.worker, row.path, "different content")
            continue
        while above and not row.path.startswith(above[-1].path):
            above.pop()
        for other in above:
            if row.path[len(other.path)] == "/":
                raise _clash(other.worker, row.worker, other.path, "a file and a folder")
        if row.entry.kind != Kind.DIRECTORY:
            above.append(row)
        last = row
        yield row.entry


def _clash(one: str, other: str, path: str, what: str) -> Conflict:
    return Conflict(
        f"{one} and {other} added {what} at '{path}'; nothing was joined.",
        hint="join one of the two parts, or let each worker write to paths of its own",
    )


def _join(draft: DraftStore, base: bytes, parts: Sequence[tuple[Part, Tree]], report: JoinReport) -> None:
    """Apply entries to the tree that was forked, and merge the result with the draft's."""
    theirs, ours = base, bytes.fromhex(draft.state.tree)
    entries = _agreed(_checked(_rows(parts)), draft, base, ours, parts)
    while batch := list(islice(entries, _BATCH)):
        how = Scan()
        changes = changes_with(Tree(theirs, draft.load_block), batch, how)
        if how.problems:
            path = how.problems[0][0]
            raise _clash("the draft", _worker_of(path, parts), path, "a folder and a file")
        report.entries += len(batch)
        report.size += sum(entry.size for entry in batch)
        theirs = edit(
            theirs, sorted(changes.items()), draft.load_block, draft.keep_block, draft.is_published
        ).digest
    _keep_stated(draft, base, theirs, parts)
    if ours != base:
        merged, clashes = merge(
            base, ours, theirs, draft.load_block, draft.keep_block, may_be_base=draft.is_published
        )
        if clashes:
            raise _differs(clashes[0].other or clashes[0].path, parts, len(clashes) - 1)
        theirs = merged.digest
    draft.state.tree = theirs.hex()


def _keep_stated(draft: DraftStore, base: bytes, theirs: bytes, parts: Sequence[tuple[Part, Tree]]) -> None:
    """Keep the entries that are as when the draft was forked.

    Raises:
        Conflict: an earlier part stated so of a path that these parts change.
    """
    kept = draft.state.stated.get(base.hex())
    stated = bytes.fromhex(kept) if kept else build((), draft.keep_block).digest

    def changed() -> Iterator[str]:
        return (change.path for change in diff(base, theirs, draft.load_block, extents=False))

    if kept:
        earlier = Tree(stated, draft.load_block)
        for path in changed():
            if earlier.get(path) is not None:
                raise _differs(path, parts)
    same = _without(_checked(_rows(parts)), changed())
    while batch := list(islice(same, _BATCH)):
        ordered = [(entry.path, entry) for entry in batch]
        stated = edit(stated, ordered, draft.load_block, draft.keep_block, draft.is_published).digest
        draft.state.stated[base.hex()] = stated.hex()


def _without(entries: Iterable[Entry], paths: Iterator[str]) -> Iterator[Entry]:
    """Yield the entries at other paths; both are in path order."""
    path = next(paths, None)
    for entry in entries:
        while path is not None and path < entry.path:
            path = next(paths, None)
        if path != entry.path:
            yield entry


def _agreed(
    entries: Iterable[Entry], draft: DraftStore, base: bytes, ours: bytes, parts: Sequence[tuple[Part, Tree]]
) -> Iterator[Entry]:
    """Yield entries that are in path order.

    Raises:
        Conflict: an entry is as when the draft was forked, and the draft has changed it: to a merge, only the
            draft would have.
    """
    tree = Tree(ours, draft.load_block)
    changes = diff(base, ours, draft.load_block, extents=False)
    change = next(changes, None)
    for entry in entries:
        while change is not None and change.path < entry.path:
            change = next(changes, None)
        if change is not None and change.path == entry.path and same_content(change.old, entry):
            filled = entry.kind == Kind.DIRECTORY and tree.is_folder(entry.path)  # still a folder
            if not filled:
                raise _differs(entry.path, parts)
        yield entry


def _differs(path: str, parts: Sequence[tuple[Part, Tree]], others: int = 0) -> Conflict:
    more = f" (and {others:,} more)" if others else ""
    return Conflict(
        f"'{path}' of {_worker_of(path, parts)} differs from what an edit of the draft or an earlier part "
        f"left there since the fork{more}; nothing was joined.",
        hint="leave out this part, or fork the draft again and let the worker add its files again",
    )


def _worker_of(path: str, parts: Sequence[tuple[Part, Tree]]) -> str:
    return next((part.worker for part, tree in parts if tree.get(path) is not None), "a worker")
