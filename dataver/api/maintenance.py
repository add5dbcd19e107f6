"""Maintenance that asks several rooms: who used a version, what drafts need, whether everything is intact."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from dataver.checkout import RepositoryReport, verify_repository
from dataver.errors import DataverError
from dataver.ingest import DraftCore, list_drafts
from dataver.ingest.upload import needs_of_draft
from dataver.lineage.lineage import Lineage
from dataver.lineage.verify import verify_lineage
from dataver.machine.paths import find_workspace
from dataver.maintenance.delete import DeletePlan, DeleteRule, VersionDeletion, plan_delete
from dataver.progress import Progress
from dataver.repository import RepositoryCore

__all__ = ["needs_of_drafts", "plan_delete_with_runs", "verify_everything"]


def plan_delete_with_runs(
    core: RepositoryCore, refs: Sequence[str], *, dataset: bool, rule: DeleteRule | None
) -> DeletePlan:
    """Return the plan of a deletion, with the runs that are linked to each version."""
    plan = plan_delete(core, refs, dataset=dataset, rule=rule)
    return replace(plan, versions=list(_with_runs(core, plan.versions)))


def needs_of_drafts(core: RepositoryCore) -> tuple[set[bytes], set[bytes]]:
    """Return the packs and roots of trees that drafts of this workspace need."""
    packs: set[bytes] = set()
    trees: set[bytes] = set()
    home = find_workspace()
    for state in list_drafts(home) if home else ():
        if home and state.repository_id == core.id and state.status != "uploaded":
            needs = needs_of_draft(DraftCore(core, home, state))
            packs |= needs[0]
            trees |= needs[1]
    return packs, trees


def verify_everything(core: RepositoryCore, *, quick: bool, progress: Progress) -> RepositoryReport:
    """Verify versions, all other objects and the lineage; see `dataver.Repository.verify`."""
    report = verify_repository(core, quick=quick, progress=progress)
    lineage = verify_lineage(core)
    report.findings += lineage.problems
    report.objects += lineage.objects
    report.stored += lineage.size
    return report


def _with_runs(core: RepositoryCore, versions: Iterable[VersionDeletion]) -> Iterator[VersionDeletion]:
    """Yield the versions with the runs linked to them, if the lineage can be queried."""
    lineage = Lineage(core)
    try:
        for each in versions:
            try:
                answer = lineage.version(each.ref)
            except DataverError:
                yield each
                continue
            links = (*answer.consumed, *answer.produced)
            yield replace(each, runs=sorted({run.key for run, _ in links}))
    finally:
        lineage.close()
