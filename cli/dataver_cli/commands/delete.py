"""`dataver delete`."""

from typing import TYPE_CHECKING

import click

from dataver_cli.command import dataset_name, option, plan_option, subcommand
from dataver_cli.output import count
from dataver_cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataver.maintenance.delete import DeletePlan

_SHOWN = 5


@subcommand(
    "delete",
    examples="""
        dataver delete vision/cats@1.0.0 --plan            # show its tags, children and runs
        dataver delete vision/cats@1.0.0 --reason "faces"  # asks first
        dataver delete vision/cats --entire-dataset --yes
    """,
)
@dataset_name
@option("--version", "label", metavar="LABEL", hidden=True)
@click.option("--entire-dataset", is_flag=True, help="All versions of the dataset NAME.")
@click.option("--force", is_flag=True, help="Also delete tagged versions; the tags are removed.")
@click.option("--reason", default="", metavar="TEXT", help="Reason, shown to users who request the version.")
@plan_option("deleted, and its tags, children and runs")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def command(
    session: Session,
    *,
    name: str | None,
    label: str | None,
    entire_dataset: bool,
    force: bool,
    reason: str,
    plan: bool,
    yes: bool,
) -> None:
    """Delete a version, or a whole dataset.

    Shows the tags, children and runs that depend on it, and asks. Children stay complete, its lineage is
    kept, and its label is never used again. `dataver gc` frees the bytes that no other version needs.
    """
    if not name:
        raise click.UsageError("missing version: dataver delete NAME@LABEL")
    ref = f"{name}@{label}" if label else name
    if "@" not in ref and ":" not in ref and not entire_dataset:
        raise click.UsageError(f"{ref} is a dataset: name a version of it, or add --entire-dataset")
    repository = session.repository()
    found = repository.plan_delete(ref, entire_dataset=entire_dataset)
    if plan:
        session.out.show(_values(found, deleted=False), _lines(found))
        return
    if not yes:
        what = f"the dataset {ref}" if entire_dataset else found.versions[0].ref
        session.out.confirm(_lines(found), f"Delete {what}?", f"deleting {what}")
    target = ref if entire_dataset else found.versions[0].ref
    gone = repository.delete(target, entire_dataset=entire_dataset, force=force, reason=reason)
    session.out.show(_values(found, deleted=True), [])
    session.out.note(
        f"Deleted {count(len(gone), 'version')} ({_listing([each.ref for each in gone])}); "
        "`dataver gc` frees the bytes when the grace period is over."
    )


def _lines(plan: "DeletePlan") -> "Iterator[str]":
    for each in plan.versions:
        yield f"{each.ref}  dv1:{each.published.record.tree.hex()[:16]}"
        if each.tags:
            yield f"  tags      {', '.join(each.tags)}"
        if each.children:
            yield f"  children  {_listing(each.children)} (they stay complete)"
        if each.runs is None:
            yield "  runs      unknown: the lineage could not be read"
        elif each.runs:
            yield f"  runs      {_listing(each.runs)} (they stay linked to its name and digest)"


def _values(plan: "DeletePlan", *, deleted: bool) -> dict[str, object]:
    return {
        "deleted": deleted,
        "dataset": plan.dataset,
        "versions": [
            {
                "ref": each.ref,
                "digest": f"dv1:{each.published.record.tree.hex()}",
                "tags": each.tags,
                "children": each.children,
                "runs": each.runs,
            }
            for each in plan.versions
        ],
    }


def _listing(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
