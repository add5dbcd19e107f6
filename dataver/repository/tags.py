"""Tags: movable names, stored as numbered moves.

Keeps invariant 2: a move is created exclusively and never changed; the highest number is current, the others
are the tag's history. A removal is a move without a version.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime

from dataver.errors import Conflict, IntegrityError, InvalidInput, NotFound
from dataver.formats.canonical_json import MAX_JSON
from dataver.formats.names import check_tag, is_other_case, parse_semver
from dataver.formats.tag import TagMove, parse_tag_move
from dataver.repository.create_once import Outcome, create_once
from dataver.repository.layout import parse_tag_key, tag_key, tag_prefix
from dataver.repository.lines import descends
from dataver.repository.records import Labels, Published, Records
from dataver.storage import Store

__all__ = ["Tags", "refuse_case"]

_MEND = "restore the object from a copy of the repository, or name the version by its label"
_TRIES = 200  # moves by other writers between a listing and our write


class Tags:
    """The tags of one repository."""

    def __init__(self, store: Store, records: Records) -> None:
        self._store = store
        self._records = records

    def current(self, dataset: str) -> dict[str, TagMove]:
        """Return the current move of each tag of a dataset that has not been removed."""
        moves = {tag: self._move(dataset, tag, row[-1]) for tag, row in sorted(self._rows(dataset).items())}
        return {tag: move for tag, move in moves.items() if move.label is not None}

    def history(self, dataset: str, tag: str) -> list[TagMove]:
        """Return all moves of a tag, oldest first; empty if it never existed."""
        return [self._move(dataset, tag, number) for number in self._numbers(dataset, tag)]

    def version(self, dataset: str, tag: str, labels: Labels) -> Published | None:
        """Return the version that a tag points to, or None.

        Args:
            dataset: the dataset.
            tag: the tag.
            labels: the dataset's records, from a listing.

        Raises:
            IntegrityError: the record was replaced after the tag was moved.
        """
        numbers = self._numbers(dataset, tag)
        move = self._move(dataset, tag, numbers[-1]) if numbers else None
        if move is None or move.label is None:
            return None
        published = self._records.get(dataset, move.label, labels.get(move.label))
        if published.record_id != move.record:
            raise IntegrityError(
                f"{published.ref} is not the version that the tag '{tag}' was moved to.",
                hint="its record was replaced; restore it from a copy, or move the tag",
            )
        return published

    def target(self, dataset: str, tag: str) -> str | None:
        """Return the label that a tag points to, or None."""
        numbers = self._numbers(dataset, tag)
        return self._move(dataset, tag, numbers[-1]).label if numbers else None

    def read(self, dataset: str, tag: str, number: int) -> TagMove:
        """Return one move of a tag.

        Raises:
            NotFound: no such move.
            IntegrityError: it is damaged, or another move.
        """
        return self._move(dataset, tag, number)

    def move(
        self, published: Published, tag: str, *, author: str, write_id: str, forward: bool = False
    ) -> TagMove:
        """Move a tag to a version; return the tag's current move.

        With `forward` a tag that points to a descendant of the version is not moved, so that a slow writer
        does not move it back.

        Raises:
            InvalidInput: the tag's name is not allowed, or differs from another one in case only.
            Conflict: other writers keep moving the tag.
        """
        check_tag(tag)
        dataset = published.record.dataset
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
        above = published if forward else None
        return self._append(
            dataset, tag, published.record_id, published.record.label, author, write_id, above=above
        )

    def remove(self, dataset: str, tag: str, *, author: str, write_id: str) -> None:
        """Remove a tag; its history is kept.

        Raises:
            NotFound: no such tag.
        """
        if self.target(dataset, tag) is None:
            raise NotFound(
                f"{dataset} has no tag '{tag}'.", hint=f"see the tags with `dataver show {dataset}`"
            )
        self._append(dataset, tag, None, None, author, write_id)

    def refuse_label(self, dataset: str, label: str) -> None:
        """Raise an error for a label that is currently a tag, whose meaning would change.

        Raises:
            Conflict: a tag has this name.
            InvalidInput: a version or a tag has a name that differs in case only.
        """
        refuse_case(dataset, label, self._records.labels(dataset), "label")
        rows = self._rows(dataset)
        refuse_case(dataset, label, rows, "tag")
        target = self._move(dataset, label, rows[label][-1]).label if label in rows else None
        if target is not None:
            raise Conflict(
                f"'{label}' is a tag of {dataset}, which points to {target}, and cannot also be a label.",
                hint="choose another label, or remove the tag",
            )

    def _append(
        self,
        dataset: str,
        tag: str,
        record: str | None,
        label: str | None,
        author: str,
        write_id: str,
        *,
        above: Published | None = None,
    ) -> TagMove:
        for _ in range(_TRIES):
            rows = self._rows(dataset)
            if tag not in rows:
                refuse_case(dataset, tag, rows, "tag")
            number = rows.get(tag, [0])[-1] + 1
            if above is not None and number > 1:
                current = self._move(dataset, tag, number - 1)
                if current.label is not None and self._is_ahead(current.label, above):
                    return current
            move = TagMove(
                number=number,
                tag=tag,
                dataset=dataset,
                record=record,
                label=label,
                created=datetime.now(UTC),
                author=author,
                write_id=write_id,
            )
            if create_once(self._store, tag_key(dataset, tag, number), move.encode()) is Outcome.WON:
                return move
        raise Conflict(f"other processes keep moving the tag {dataset}@{tag}.", hint="try again")

    def _is_ahead(self, label: str, version: Published) -> bool:
        """Return whether a label belongs to a version or a descendant of it."""
        try:
            target = self._records.get(version.record.dataset, label)
        except NotFound:
            return False
        return target.record_id == version.record_id or descends(
            self._records, target.record.parents, version
        )

    def _rows(self, dataset: str) -> dict[str, list[int]]:
        """Return the numbers of the moves of each tag, removed tags included."""
        rows: dict[str, list[int]] = defaultdict(list)
        for info in self._store.list(tag_prefix(dataset)):
            key = parse_tag_key(info.key)
            if key and key.dataset == dataset:
                rows[key.tag].append(key.number)
        return {tag: sorted(numbers) for tag, numbers in rows.items()}

    def _numbers(self, dataset: str, tag: str) -> list[int]:
        keys = (parse_tag_key(info.key) for info in self._store.list(tag_prefix(dataset, tag)))
        return sorted(key.number for key in keys if key and (key.dataset, key.tag) == (dataset, tag))

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
