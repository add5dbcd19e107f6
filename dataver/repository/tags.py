"""Tags: movable names, stored as numbered moves.

Keeps invariant 2: a move is created exclusively and never changed; the highest number is current, the others
are the tag's history. A removal is a move without a version.

A move may protect its tag: then the next move needs `force` and a reason. Since the next move has the next
number, a tag that was protected meanwhile is never moved by mistake. Versions of dataver that do not know
protection move the tag regardless, which ends the protection.
"""

import contextlib
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain, islice

from dataver.cache.object_cache import DiskCache
from dataver.errors import Conflict, IntegrityError, InvalidInput, NotFound
from dataver.formats.canonical_json import MAX_JSON
from dataver.formats.names import check_tag, is_other_case, parse_semver
from dataver.formats.tag import TagMove, parse_tag_move
from dataver.repository.ancestry import Ancestry
from dataver.repository.layout import parse_tag_key, tag_key, tag_prefix
from dataver.repository.numbered import append_numbered
from dataver.repository.records import Published, Records
from dataver.storage import Store

__all__ = ["Tags", "refuse_case"]

_MEND = "restore the object from a copy of the repository, or name the version by its label"
_REASON = "a protected tag is moved or removed with --force and --reason TEXT"
_PAGE = 1000  # keys that one request lists
_HIGHEST = 99_999_999  # the number to which keys sort as numbers


class Tags:
    """The tags of one repository."""

    def __init__(self, store: Store, records: Records, cache: DiskCache | None = None) -> None:
        self._store = store
        self._records = records
        self._cache = cache

    def current(self, dataset: str) -> dict[str, TagMove]:
        """Return the current move of each tag of a dataset that has not been removed."""
        moves = {tag: self._move(dataset, tag, last) for tag, last in sorted(self._lasts(dataset).items())}
        return {tag: move for tag, move in moves.items() if move.label is not None}

    def history(self, dataset: str, tag: str) -> list[TagMove]:
        """Return all moves of a tag, oldest first; empty if it never existed."""
        keys = (parse_tag_key(info.key) for info in self._store.list(tag_prefix(dataset, tag)))
        numbers = sorted(key.number for key in keys if key and (key.dataset, key.tag) == (dataset, tag))
        return [self._move(dataset, tag, number) for number in numbers]

    def version(self, dataset: str, tag: str) -> Published | None:
        """Return the version that a tag points to, or None.

        Raises:
            NotFound: the version does not exist.
            IntegrityError: the record was replaced after the tag was moved.
        """
        last = self._last(dataset, tag)
        move = self._move(dataset, tag, last) if last else None
        if move is None or move.label is None:
            return None
        published = self._records.find(dataset, move.label)
        if published.record_id != move.record:
            raise IntegrityError(
                f"{published.ref} is not the version that the tag '{tag}' was moved to.",
                hint="its record was replaced; restore it from a copy, or move the tag",
            )
        return published

    def target(self, dataset: str, tag: str) -> str | None:
        """Return the label that a tag points to, or None."""
        last = self._last(dataset, tag)
        return self._move(dataset, tag, last).label if last else None

    def read(self, dataset: str, tag: str, number: int) -> TagMove:
        """Return one move of a tag.

        Raises:
            NotFound: no such move.
            IntegrityError: it is damaged, or another move.
        """
        return self._move(dataset, tag, number)

    def move(
        self,
        published: Published,
        tag: str,
        *,
        author: str,
        forward: bool = False,
        protect: bool | None = None,
        force: bool = False,
        reason: str = "",
    ) -> TagMove:
        """Move a tag to a version; return the tag's current move.

        Args:
            published: the version.
            tag: the tag.
            author: the author of the move.
            forward: do not move a tag that points to a descendant of the version, so that a slow writer does
                not move it back.
            protect: whether the tag is protected from now on; None leaves that as it is.
            force: move a protected tag.
            reason: the reason, required by `force`.

        Raises:
            InvalidInput: the tag's name is not allowed, or differs from another one in case only, or `force`
                is given without a reason.
            Conflict: the tag is protected, or other writers keep moving it.
        """
        check_tag(tag)
        dataset = published.record.dataset
        last = self._last(dataset, tag)
        self._refuse_name(dataset, tag, last)
        move = _first_move(dataset, tag, published, author, reason)
        above = published if forward else None
        return self._append(move, last, protect=protect, force=force, above=above)

    def refuse_name(self, dataset: str, tag: str) -> None:
        """Raise an error if `move` would refuse the name of a tag.

        Raises:
            InvalidInput: the name is not allowed, or differs from another one in case only.
        """
        check_tag(tag)
        self._refuse_name(dataset, tag, self._last(dataset, tag))

    def _refuse_name(self, dataset: str, tag: str, last: int) -> None:
        """Raise an error if a tag with this last move, or none, must not get another one.

        The name of an existing tag is allowed. But the name of a removed one may be a label by now, and in a
        store that ignores case the moves may be another tag's: all names are compared then.
        """
        with contextlib.suppress(NotFound):
            if last and self._move(dataset, tag, last).label is not None:
                return
        if tag in (labels := self._records.labels(dataset)):
            raise InvalidInput(
                f"'{tag}' is the label of a version of {dataset} and cannot also be a tag.",
                hint="choose another name for the tag",
            )
        refuse_case(dataset, tag, labels, "label")
        if parse_semver(tag) is not None:
            raise InvalidInput(
                f"'{tag}' cannot be a tag: it has the form of a version's label.",
                hint="choose a word, such as production",
            )
        lasts = self._lasts(dataset)
        if tag not in lasts:
            refuse_case(dataset, tag, lasts, "tag")

    def remove(
        self,
        dataset: str,
        tag: str,
        *,
        author: str,
        force: bool = False,
        reason: str = "",
        after: int | None = None,
    ) -> None:
        """Remove a tag; its history is kept. With `after`, only if the move of that number is its last one.

        Raises:
            NotFound: no such tag.
            InvalidInput: `force` is given without a reason.
            Conflict: the tag is protected, and `force` is not set; or it was moved after `after`.
        """
        last = self._last(dataset, tag) if after is None else after
        if not last or self._move(dataset, tag, last).label is None:
            raise NotFound(
                f"{dataset} has no tag '{tag}'.", hint=f"see the tags with `dataver show {dataset}`"
            )
        move = _first_move(dataset, tag, None, author, reason)
        self._append(move, last, protect=False, force=force, again=after is None)

    def refuse_label(self, dataset: str, label: str) -> None:
        """Raise an error for a label that is currently a tag, whose meaning would change.

        Raises:
            Conflict: a tag has this name.
            InvalidInput: a version or a tag has a name that differs in case only.
        """
        refuse_case(dataset, label, self._records.labels(dataset), "label")
        lasts = self._lasts(dataset)
        refuse_case(dataset, label, lasts, "tag")
        target = self._move(dataset, label, lasts[label]).label if label in lasts else None
        if target is not None:
            raise Conflict(
                f"'{label}' is a tag of {dataset}, which points to {target}, and cannot also be a label.",
                hint="choose another label, or remove the tag",
            )

    def refuse_protected(self, dataset: str, tag: str) -> None:
        """Raise an error if a tag is protected.

        Raises:
            Conflict: it is.
        """
        last = self._last(dataset, tag)
        if last:
            _refuse_protected(self._move(dataset, tag, last))

    def _append(
        self,
        wanted: TagMove,
        last: int,
        *,
        protect: bool | None,
        force: bool,
        above: Published | None = None,
        again: bool = True,
    ) -> TagMove:
        dataset, tag = wanted.dataset, wanted.tag
        if force and not wanted.reason.strip():
            raise InvalidInput(f"{dataset}@{tag} is moved by force only with a reason.", hint=_REASON)

        def make(last: int) -> TagMove:
            current = self._move(dataset, tag, last) if last else None
            if current is not None and above is not None and self._is_ahead(current.label, above):
                return current
            protected = current is not None and current.protected
            if current is not None and protected and not force:
                if current.record == wanted.record and protect is not False:
                    return current
                _refuse_protected(current)
            protected = protected if protect is None else protect
            return replace(wanted, number=last + 1, created=datetime.now(UTC), protected=protected)

        later = iter(lambda: self._last(dataset, tag), None)
        return append_numbered(
            self._store,
            partial(tag_key, dataset, tag),
            chain([last], later) if again else [last],
            make,
            what=f"moving the tag {dataset}@{tag}",
        )

    def _is_ahead(self, label: str | None, version: Published) -> bool:
        """Return whether a label belongs to a version or a descendant of it."""
        if label is None:
            return False
        try:
            target = self._records.find(version.record.dataset, label)
        except NotFound:
            return False
        return target.record_id == version.record_id or Ancestry(self._records).descends(
            target.record.parents, version
        )

    def _lasts(self, dataset: str) -> dict[str, int]:
        """Return the number of the last move of each tag, removed tags included."""
        found: dict[str, int] = {}
        after: str | None = None
        while True:
            seen: Counter[str] = Counter()
            for info in self._store.list(tag_prefix(dataset), after):
                key = parse_tag_key(info.key)
                if key and key.dataset == dataset:
                    found[key.tag] = max(key.number, found.get(key.tag, 0))
                    seen[key.tag] += 1
                    if seen[key.tag] == _PAGE and self._store.local_root is None:
                        found[key.tag] = self._last(dataset, key.tag)
                        after = tag_key(dataset, key.tag, found[key.tag])
                        break
            else:
                return found

    def _last(self, dataset: str, tag: str) -> int:
        """Return the number of the last move of a tag, 0 if it never existed.

        The moves are listed from the last known one on. Without one, or if that does not exist, a listing
        that begins at ever higher numbers finds an end, and bisection the last move before it.
        """
        name = f"{self._store.location}\n{tag_key(dataset, tag, 0)}"
        known = self._known(name)
        last, full = self._moves_after(dataset, tag, known - 1) if known else (0, True)
        if not last:
            last, full = self._moves_after(dataset, tag, 0)
        step = end = 0  # the next page first
        while full:
            start = (last + end) // 2 if end else min(last + step, _HIGHEST)
            if end and end - last <= _PAGE:
                start = last
            further, full = self._moves_after(dataset, tag, start)
            if further:
                last = max(last, further)
            elif start == last:
                break
            else:
                end, full = start, True
            step = 4 * step or _PAGE
        if self._cache is not None and last not in (0, known):
            self._cache.put(name, b"%d" % last)
        return last

    def _known(self, name: str) -> int:
        """Return the last move that this machine has seen, 0 if none."""
        data = self._cache.get(name) if self._cache is not None else None
        return int(data) if data is not None and data.isdigit() else 0

    def _moves_after(self, dataset: str, tag: str, number: int) -> tuple[int, bool]:
        """List one page of the moves after a number; return the highest one or 0, and whether it is full."""
        after = tag_key(dataset, tag, number) if number > 0 else None
        keys = (parse_tag_key(info.key) for info in self._store.list(tag_prefix(dataset, tag), after))
        numbers = (key.number for key in keys if key and (key.dataset, key.tag) == (dataset, tag))
        if self._store.local_root is not None:  # a folder is read as a whole
            return max(numbers, default=0), False
        page = list(islice(numbers, _PAGE))
        return max(page, default=0), len(page) == _PAGE

    def _move(self, dataset: str, tag: str, number: int) -> TagMove:
        what = f"move {number} of the tag {dataset}@{tag} in {self._store.url}"
        try:
            move = parse_tag_move(self._store.get_bounded(tag_key(dataset, tag, number), MAX_JSON))
        except IntegrityError as error:
            raise IntegrityError(f"{what} is damaged: {error.message}.", hint=_MEND) from error
        if (move.dataset, move.number) == (dataset, number) and is_other_case(move.tag, tag):
            raise NotFound(
                f"there is no tag {dataset}@{tag}, but {move.tag}: the store ignores upper and lower case.",
                hint=f"write {dataset}@{move.tag}",
            )
        if (move.dataset, move.tag, move.number) != (dataset, tag, number):
            raise IntegrityError(
                f"{what} contains move {move.number} of {move.dataset}@{move.tag}.", hint=_MEND
            )
        return move


def _first_move(dataset: str, tag: str, published: Published | None, author: str, reason: str) -> TagMove:
    """Return a move to a version, or to None, as the first of a tag."""
    return TagMove(
        number=1,
        tag=tag,
        dataset=dataset,
        record=published.record_id if published else None,
        label=published.record.label if published else None,
        created=datetime.now(UTC),
        author=author,
        write_id=os.urandom(16).hex(),
        reason=reason,
    )


def _refuse_protected(current: TagMove) -> None:
    if current.protected:
        raise Conflict(
            f"{current.dataset}@{current.tag} is protected and stays at {current.label}; {current.author} "
            f"moved it there on {current.created:%Y-%m-%d}.",
            hint=_REASON,
        )


def refuse_case(dataset: str, name: str, others: Iterable[str], kind: str) -> None:
    """Raise an error if a name differs from another one in case only; some file systems are case-insensitive.

    Args:
        dataset: the dataset of both.
        name: the new name.
        others: the existing names.
        kind: "label" or "tag", the kind of the existing names.

    Raises:
        InvalidInput: names the other one.
    """
    other = next((each for each in others if is_other_case(each, name)), None)
    if other is not None:
        raise InvalidInput(
            f"'{name}' differs from the {kind} '{other}' of {dataset} in upper and lower case only.",
            hint="choose another name",
        )
