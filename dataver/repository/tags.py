"""Tags: names that move, kept as a row of numbered moves.

Keeps invariant 2: a move is created exclusively and never changed; the highest number is current, the rest is
the tag's history. A removal is a move to nothing.
"""

from collections import defaultdict
from datetime import UTC, datetime

from dataver.errors import Conflict, IntegrityError, InvalidInput, NotFound
from dataver.formats.names import check_tag, parse_semver
from dataver.formats.tag import TagMove, parse_tag_move
from dataver.repository.layout import parse_tag_key, tag_key, tag_prefix
from dataver.repository.publish import Outcome, create_once
from dataver.repository.records import Published, Records
from dataver.storage import Store

__all__ = ["Tags"]

_MEND = "restore the object from a copy of the repository, or name the version by its label"
_TRIES = 20  # moves by others that may get in between one reading and our writing


class Tags:
    """The tags of one repository."""

    def __init__(self, store: Store, records: Records) -> None:
        self._store = store
        self._records = records

    def current(self, dataset: str) -> dict[str, TagMove]:
        """Return the current move of every tag of a dataset that points somewhere."""
        highest: dict[str, int] = defaultdict(int)
        for info in self._store.list(tag_prefix(dataset)):
            key = parse_tag_key(info.key)
            if key and key.dataset == dataset:
                highest[key.tag] = max(highest[key.tag], key.number)
        moves = {tag: self._move(dataset, tag, number) for tag, number in sorted(highest.items())}
        return {tag: move for tag, move in moves.items() if move.label is not None}

    def history(self, dataset: str, tag: str) -> list[TagMove]:
        """Return all moves of a tag, oldest first; empty when there never was one."""
        return [self._move(dataset, tag, number) for number in self._numbers(dataset, tag)]

    def version(self, dataset: str, tag: str) -> Published | None:
        """Return the version a tag points to, or None.

        Raises:
            IntegrityError: another record has taken the place of the one the tag was put on.
        """
        numbers = self._numbers(dataset, tag)
        move = self._move(dataset, tag, numbers[-1]) if numbers else None
        if move is None or move.label is None:
            return None
        published = self._records.get(dataset, move.label)
        if published.record_id != move.record:
            raise IntegrityError(
                f"{published.ref} is not the version that the tag '{tag}' was put on.",
                hint="its record was replaced; restore it from a copy, or move the tag",
            )
        return published

    def target(self, dataset: str, tag: str) -> str | None:
        """Return the label a tag points to, or None."""
        numbers = self._numbers(dataset, tag)
        return self._move(dataset, tag, numbers[-1]).label if numbers else None

    def read(self, dataset: str, tag: str, number: int) -> TagMove:
        """Return one move of a tag.

        Raises:
            NotFound: there is no such move.
            IntegrityError: it is damaged, or another one.
        """
        return self._move(dataset, tag, number)

    def move(self, published: Published, tag: str, *, author: str, write_id: str) -> TagMove:
        """Point a tag at a version.

        Raises:
            InvalidInput: the tag's name cannot be used.
            Conflict: others keep moving the tag.
        """
        check_tag(tag)
        dataset = published.record.dataset
        if tag in self._records.labels(dataset):
            raise InvalidInput(
                f"'{tag}' is the label of a version of {dataset} and cannot be a tag too.",
                hint="choose another name for the tag",
            )
        if parse_semver(tag) is not None:
            raise InvalidInput(
                f"'{tag}' cannot be a tag: it would be the label of a version one day.",
                hint="choose a word, such as production",
            )
        return self._append(dataset, tag, published.record_id, published.record.label, author, write_id)

    def remove(self, dataset: str, tag: str, *, author: str, write_id: str) -> None:
        """Remove a tag; its history stays.

        Raises:
            NotFound: there is no such tag.
        """
        if self.target(dataset, tag) is None:
            raise NotFound(
                f"{dataset} has no tag '{tag}'.", hint=f"see the tags with `dataver show {dataset}`"
            )
        self._append(dataset, tag, None, None, author, write_id)

    def refuse_label(self, dataset: str, label: str) -> None:
        """Refuse a label that is a tag now: the same name would mean another version from then on.

        Raises:
            Conflict: there is such a tag.
        """
        target = self.target(dataset, label)
        if target is not None:
            raise Conflict(
                f"'{label}' is a tag of {dataset}, which points to {target}, and cannot be a label too.",
                hint="choose another label, or remove the tag",
            )

    def _append(
        self, dataset: str, tag: str, record: str | None, label: str | None, author: str, write_id: str
    ) -> TagMove:
        for _ in range(_TRIES):
            number = (self._numbers(dataset, tag) or [0])[-1] + 1
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
        raise Conflict(f"the tag {dataset}@{tag} is being moved by others all the time.", hint="try again")

    def _numbers(self, dataset: str, tag: str) -> list[int]:
        keys = (parse_tag_key(info.key) for info in self._store.list(tag_prefix(dataset, tag)))
        return sorted(key.number for key in keys if key and (key.dataset, key.tag) == (dataset, tag))

    def _move(self, dataset: str, tag: str, number: int) -> TagMove:
        what = f"move {number} of the tag {dataset}@{tag} in {self._store.url}"
        try:
            move = parse_tag_move(self._store.get(tag_key(dataset, tag, number)))
        except IntegrityError as error:
            raise IntegrityError(f"{what} is damaged: {error.message}.", hint=_MEND) from error
        if (move.dataset, move.tag, move.number) != (dataset, tag, number):
            raise IntegrityError(
                f"{what} says it is move {move.number} of {move.dataset}@{move.tag}.", hint=_MEND
            )
        return move
