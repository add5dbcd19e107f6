"""Transfer of descriptions: copied unchanged, with their numbers, times and authors.

The idea: a description is numbered and never changed (invariant 2). The target lacks those with a higher
number than its last one, and they are copied. If both repositories described the same thing since, the
target's description stays, and the difference is reported: only a person can say which one is right.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from dataver.errors import Conflict
from dataver.repository.create_once import Outcome, create_once
from dataver.repository.descriptions import numbers_below
from dataver.repository.layout import (
    DESCRIPTIONS,
    description_key,
    description_prefix,
)
from dataver.repository.records import Published
from dataver.repository.repository import RepositoryCore

__all__ = ["DescriptionPlan", "move_descriptions", "plan_descriptions"]


@dataclass(frozen=True)
class DescriptionPlan:
    """Descriptions of one version or dataset that the target lacks.

    Attributes:
        dataset: the dataset.
        label: the version; None for the dataset as a whole.
        numbers: the numbers to copy, ascending.
        last: the highest number that both have; 0 if the target has none.
    """

    dataset: str
    label: str | None
    numbers: tuple[int, ...]
    last: int

    @property
    def ref(self) -> str:
        """What is described: `dataset@label`, or the dataset's name."""
        return self.dataset if self.label is None else f"{self.dataset}@{self.label}"


def plan_descriptions(
    source: RepositoryCore, target: RepositoryCore, versions: Iterable[Published], *, whole: bool
) -> list[DescriptionPlan]:
    """Return the descriptions to copy of versions that the target has afterwards, and of their datasets.

    Args:
        source: the source.
        target: the target.
        versions: those versions.
        whole: whether they are all of the source, so that one listing of all descriptions is the cheapest.
    """
    wanted: set[tuple[str, str | None]] = {(each.record.dataset, each.record.label) for each in versions}
    wanted |= {(dataset, None) for dataset, _ in wanted}
    prefixes = (
        [DESCRIPTIONS] if whole and wanted else sorted({description_prefix(name, None) for name, _ in wanted})
    )
    ours, theirs = (
        {name: found for prefix in prefixes for name, found in numbers_below(repo.store, prefix).items()}
        for repo in (source, target)
    )
    return [
        DescriptionPlan(*name, tuple(number for number in ours[name] if number > last), last)
        for name in sorted(wanted & ours.keys(), key=lambda each: (each[0], each[1] or ""))
        if (last := max(theirs.get(name, [0]))) < max(ours[name])
    ]


def move_descriptions(source: RepositoryCore, target: RepositoryCore, plan: DescriptionPlan) -> int:
    """Copy the descriptions of one version or dataset; return their number.

    Raises:
        Conflict: the target describes it differently.
        IntegrityError: a description is damaged.
        StoreError: a store failed; a repeated call continues.
    """
    name, last = (plan.dataset, plan.label), plan.last
    ours, theirs = (repo.descriptions.read_bytes for repo in (source, target))
    if last and ours(*name, last) != theirs(*name, last):
        raise Conflict(f"it is described differently in {target.url}, which keeps its description")
    for number in plan.numbers:
        data, _ = ours(*name, number)
        if create_once(target.store, description_key(*name, number), data) is Outcome.LOST:
            raise Conflict(f"it was described in {target.url} meanwhile, which keeps that description")
    return len(plan.numbers)
