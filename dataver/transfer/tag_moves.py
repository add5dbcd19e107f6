"""Transfer of tags: with their history if possible, else as one new move.

The idea: a tag is a sequence of numbered, immutable moves (invariant 2). If the target's sequence is empty or
a prefix of the source's, the rest is copied unchanged, including numbers, times and authors. If the sequences
have diverged, a new move to the source's version is appended in the target. If the source's sequence is a
prefix of the target's, the tag was moved further there and is not changed, unless `exact` is set. A tag that
is protected in the target is moved only by copying: those moves had their reasons.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dataver.errors import Conflict, DataverError, FormatTooNew, IntegrityError, InvalidInput, NotFound
from dataver.formats.canonical_json import MAX_JSON
from dataver.formats.tag import TagMove, parse_tag_move
from dataver.repository.create_once import Outcome, create_once
from dataver.repository.layout import tag_key
from dataver.repository.records import Published
from dataver.repository.repository import RepositoryCore
from dataver.repository.tags import refuse_case
from dataver.storage import Store
from dataver.transfer.inventory import Names, list_names
from dataver.transfer.selection import Choice

__all__ = ["TagPlan", "move_tag", "plan_tags"]

_TRIES = 5  # concurrent moves by other writers


@dataclass(frozen=True)
class TagPlan:
    """Changes of one tag in the target.

    Attributes:
        dataset: its dataset.
        tag: its name.
        label: the version it points to afterwards; None if it is removed.
        record: the id of that version's record; None if it is removed.
        copied: the numbers of the moves that are copied unchanged; empty if a new move is made instead.
        exact: whether a tag that was moved further in the target is moved back.
    """

    dataset: str
    tag: str
    label: str | None
    record: str | None
    copied: tuple[int, ...]
    exact: bool

    @property
    def ref(self) -> str:
        """The tag's name: `dataset@tag`."""
        return f"{self.dataset}@{self.tag}"

    @property
    def moves(self) -> int:
        """Number of moves added in the target."""
        return len(self.copied) or 1


def plan_tags(
    source: RepositoryCore,
    target: RepositoryCore,
    choice: Choice,
    versions: Sequence[Published],
    names: Names,
    *,
    exact: bool,
) -> tuple[list[TagPlan], list[tuple[str, str]]]:
    """Return the plans of the selected tags, and those that cannot be moved with the reasons.

    Args:
        source: the source.
        target: the target.
        choice: the selection.
        versions: the selected versions that the target has afterwards.
        names: the target's listing.
        exact: see `TagPlan`.
    """
    records = {(each.record.dataset, each.record.label): each.record_id for each in versions}
    rows = {name for name, numbers in names.tags.items() if numbers}
    found, problems = [], []
    for dataset, tag in choice.tags:
        try:
            ours = choice.names.tags[dataset, tag]
            plan = _plan(source.store, target.store, (dataset, tag), ours, names.tags[dataset, tag], exact)
            if plan is not None:
                _allow(plan, records, tag in names.versions[dataset])
                if (dataset, tag) not in rows:
                    labels = (label for name, label in records if name == dataset)
                    refuse_case(dataset, tag, [*names.versions[dataset], *labels], "label")
                    refuse_case(dataset, tag, (other for name, other in rows if name == dataset), "tag")
                rows.add((dataset, tag))
                found.append(plan)
        except (InvalidInput, Conflict, IntegrityError, FormatTooNew, NotFound) as error:
            problems.append((f"tag {dataset}@{tag}", error.message))
    return found, problems


def _allow(plan: TagPlan, records: dict[tuple[str, str], str], is_label: bool) -> None:
    if plan.label is not None and records.get((plan.dataset, plan.label)) != plan.record:
        raise Conflict(f"it points to {plan.dataset}@{plan.label}, which is not transferred")
    if is_label:
        raise Conflict(f"'{plan.tag}' is the label of a version in the target")


def move_tag(source: RepositoryCore, target: RepositoryCore, plan: TagPlan, author: str) -> int:
    """Execute the plan of a tag; return the number of moves added in the target.

    Raises:
        Conflict: other processes keep moving it.
        StoreError: a store failed; a repeated call continues.
    """
    current: TagPlan | None = plan
    gained = 0
    for _ in range(_TRIES):
        if current is None:
            return gained
        if not current.copied:
            _append(target, current, author)
            return gained + 1
        for number in current.copied:
            raw, _ = _read(source.store, plan.dataset, plan.tag, number)
            if create_once(target.store, tag_key(plan.dataset, plan.tag, number), raw) is Outcome.LOST:
                break
            gained += 1
        else:
            return gained
        # another writer moved it meanwhile: compare again
        name = (plan.dataset, plan.tag)
        ours = list_names(source.store, [plan.dataset]).tags[name]
        theirs = list_names(target.store, [plan.dataset]).tags[name]
        current = _plan(source.store, target.store, name, ours, theirs, plan.exact)
    raise Conflict(f"other processes keep moving the tag {plan.ref}.", hint="try again")


def _append(target: RepositoryCore, plan: TagPlan, author: str) -> None:
    if plan.label is None:
        target.tags.remove(plan.dataset, plan.tag, author=author)
        return
    published = target.records.get(plan.dataset, plan.label)
    target.tags.move(published, plan.tag, author=author)


def _plan(
    source: Store, target: Store, name: tuple[str, str], ours: list[int], theirs: list[int], exact: bool
) -> TagPlan | None:
    """Compare the moves in source and target; return None if no change is needed."""
    if not ours:
        return None
    _, goal = _read(source, *name, ours[-1])
    if not theirs:
        copied = tuple(ours)
    else:
        common = min(ours[-1], theirs[-1])
        _, current = _read(target, *name, theirs[-1])
        if (current.label, current.record) == (goal.label, goal.record) and theirs[-1] >= ours[-1]:
            return None
        copied = ()
        if _raw(source, *name, common) == _raw(target, *name, common):
            copied = tuple(number for number in ours if number > theirs[-1])
            if not copied and not exact:
                return None  # it was moved further in the target
        elif (current.label, current.record) == (goal.label, goal.record):
            return None
        if current.protected and not copied:
            raise Conflict(
                f"it is protected in the target, where it points to {current.label}; "
                "move it there with `dataver tag --force --reason TEXT`"
            )
    return TagPlan(*name, goal.label, goal.record, copied, exact)


def _raw(store: Store, dataset: str, tag: str, number: int) -> bytes | None:
    try:
        return store.get_bounded(tag_key(dataset, tag, number), MAX_JSON)
    except NotFound:
        return None


def _read(store: Store, dataset: str, tag: str, number: int) -> tuple[bytes, TagMove]:
    """Return a move's bytes, and the parsed move.

    Raises:
        IntegrityError: damaged, or another move.
    """
    raw = store.get_bounded(tag_key(dataset, tag, number), MAX_JSON)
    try:
        move = parse_tag_move(raw)
    except DataverError as error:
        raise type(error)(f"move {number} in {store.url} is damaged: {error.message}.") from error
    if (move.dataset, move.tag, move.number) != (dataset, tag, number):
        raise IntegrityError(f"move {number} in {store.url} belongs to another tag.")
    return raw, move
