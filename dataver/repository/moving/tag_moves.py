"""Tags on their way: the history goes along where it can, else the tag gets one new move.

The idea: a tag is a row of numbered moves that nobody changes (invariant 2). Where the target's row is the
beginning of the source's, or empty, the rest is copied as it is, numbers, times and authors included. Where
the rows have parted, the target's row goes on with a move of its own to where the source's tag points. Where
the source's row is the beginning of the target's, the tag was moved on there: it is left alone, unless the
target is to be exactly like the source.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from dataver.errors import Conflict, DataverError, FormatTooNew, IntegrityError, NotFound
from dataver.formats.tag import TagMove, parse_tag_move
from dataver.repository.layout import tag_key
from dataver.repository.moving.choosing import Choice
from dataver.repository.moving.holding import Names, list_names
from dataver.repository.publish import Outcome, create_once
from dataver.repository.records import Published
from dataver.repository.repository import Repository
from dataver.storage import Store

__all__ = ["TagPlan", "move_tag", "plan_tags"]

_TRIES = 5  # moves by others that may get in between


@dataclass(frozen=True)
class TagPlan:
    """What happens to one tag in the target.

    Attributes:
        dataset: its dataset.
        tag: its name.
        label: the version it points to afterwards; None where it is removed.
        record: the id of that version's record; None where it is removed.
        copied: the numbers of the moves that are copied as they are; none where a new move is made instead.
        exact: whether a tag that was moved on in the target is moved back.
    """

    dataset: str
    tag: str
    label: str | None
    record: str | None
    copied: tuple[int, ...]
    exact: bool

    @property
    def ref(self) -> str:
        """How people write it."""
        return f"{self.dataset}@{self.tag}"

    @property
    def moves(self) -> int:
        """How many moves the target's row gains."""
        return len(self.copied) or 1


def plan_tags(
    source: Repository,
    target: Repository,
    choice: Choice,
    versions: Sequence[Published],
    names: Names,
    *,
    exact: bool,
) -> tuple[list[TagPlan], list[tuple[str, str]]]:
    """Return what happens to the chosen tags, and which cannot be moved, and why.

    Args:
        source: where they are.
        target: where they go.
        choice: what is moved.
        versions: what the target holds afterwards, of the versions chosen.
        names: what the target's listing said.
        exact: see `TagPlan`.
    """
    records = {(each.record.dataset, each.record.label): each.record_id for each in versions}
    found, problems = [], []
    for dataset, tag in choice.tags:
        try:
            ours = choice.names.tags[dataset, tag]
            plan = _plan(source.store, target.store, (dataset, tag), ours, names.tags[dataset, tag], exact)
            if plan is not None:
                _allow(plan, records, tag in names.versions[dataset])
                found.append(plan)
        except (Conflict, IntegrityError, FormatTooNew, NotFound) as error:
            problems.append((f"tag {dataset}@{tag}", error.message))
    return found, problems


def _allow(plan: TagPlan, records: dict[tuple[str, str], str], is_label: bool) -> None:
    if plan.label is not None and records.get((plan.dataset, plan.label)) != plan.record:
        raise Conflict(f"it points to {plan.dataset}@{plan.label}, which is not moved")
    if is_label:
        raise Conflict(f"'{plan.tag}' is the label of a version in the target")


def move_tag(source: Repository, target: Repository, plan: TagPlan, author: str) -> int:
    """Do what was planned for a tag; return how many moves the target's row gained.

    Raises:
        Conflict: others keep moving it.
        StoreError: a store failed; repeating it continues.
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
        # somebody else moved it meanwhile: look again
        name = (plan.dataset, plan.tag)
        ours = list_names(source.store, [plan.dataset]).tags[name]
        theirs = list_names(target.store, [plan.dataset]).tags[name]
        current = _plan(source.store, target.store, name, ours, theirs, plan.exact)
    raise Conflict(f"the tag {plan.ref} is being moved by others all the time.", hint="try again")


def _append(target: Repository, plan: TagPlan, author: str) -> None:
    write_id = os.urandom(16).hex()
    if plan.label is None:
        target.tags.remove(plan.dataset, plan.tag, author=author, write_id=write_id)
        return
    published = target.records.get(plan.dataset, plan.label)
    target.tags.move(published, plan.tag, author=author, write_id=write_id)


def _plan(
    source: Store, target: Store, name: tuple[str, str], ours: list[int], theirs: list[int], exact: bool
) -> TagPlan | None:
    """Compare two rows; None where nothing is to be done."""
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
                return None  # it was moved on in the target
        elif (current.label, current.record) == (goal.label, goal.record):
            return None
    return TagPlan(*name, goal.label, goal.record, copied, exact)


def _raw(store: Store, dataset: str, tag: str, number: int) -> bytes | None:
    try:
        return store.get(tag_key(dataset, tag, number))
    except NotFound:
        return None


def _read(store: Store, dataset: str, tag: str, number: int) -> tuple[bytes, TagMove]:
    """Return a move's bytes, and what they say.

    Raises:
        IntegrityError: they are no move, or another one.
    """
    raw = store.get(tag_key(dataset, tag, number))
    try:
        move = parse_tag_move(raw)
    except DataverError as error:
        raise type(error)(f"move {number} in {store.url} is damaged: {error.message}.") from error
    if (move.dataset, move.tag, move.number) != (dataset, tag, number):
        raise IntegrityError(f"move {number} in {store.url} is another tag's.")
    return raw, move
