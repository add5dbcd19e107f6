"""`dataver delete`."""

from typing import TYPE_CHECKING

import click

from dataver_cli.command import option, plan_option, subcommand
from dataver_cli.completing import complete_ref
from dataver_cli.output import SHORT, count
from dataver_cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataver.maintenance.delete import DeletePlan

_SHOWN = 5


@subcommand(
    "delete",
    examples="""
        dataver delete vision/cats@1.0.0 --plan            # show its tags, children and runs
        dataver delete vision/cats@1.0.0 vision/cats@1.0.1 --reason "faces"     # asks first
        dataver delete vision/cats --keep-last 10 --older-than 90d
        dataver delete vision/cats --entire-dataset --yes
    """,
)
@click.argument("refs", nargs=-1, metavar="REF...", shell_complete=complete_ref)
@option("--name", hidden=True)
@option("--project", hidden=True)
@option("--version", "label", metavar="LABEL", hidden=True)
@click.option(
    "--keep-last",
    type=click.IntRange(min=1),
    metavar="N",
    help="Of the dataset REF, all but the N newest versions. Never tagged versions.",
)
@click.option(
    "--older-than",
    metavar="TIME",
    help="Of the dataset REF, versions older than TIME, such as 30d. Never tagged versions or the latest.",
)
@click.option("--entire-dataset", is_flag=True, help="All versions of the dataset REF.")
@click.option("--force", is_flag=True, help="Also delete tagged versions; protected tags need --reason.")
@click.option("--reason", default="", metavar="TEXT", help="Reason, shown to users who request the version.")
@plan_option("deleted, and its tags, children and runs")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def command(
    session: Session,
    *,
    refs: tuple[str, ...],
    keep_last: int | None,
    older_than: str | None,
    entire_dataset: bool,
    force: bool,
    reason: str,
    plan: bool,
    yes: bool,
    **named: str | None,
) -> None:
    """Delete versions, or whole datasets.

    Shows the tags, children and runs that depend on them, and asks. Children stay complete, lineage is kept,
    and labels are never used again. `dataver gc` frees the bytes that no other version needs.

    --keep-last and --older-than choose versions of a dataset, those that both choose if both are given. They
    never choose the latest version or one that a tag points to; these are listed.
    """
    from dataver.machine.store_clock import parse_period
    from dataver.maintenance.delete import DeleteRule, execute_delete, plan_delete, refuse_tagged
    from dataver.user import author

    wanted = _names(refs, **named)
    rule = keep_last is not None or older_than is not None
    if rule and (entire_dataset or force):
        raise click.UsageError("--keep-last and --older-than exclude --entire-dataset and --force")
    for ref in wanted:
        _check(ref, whole=rule or entire_dataset)
    repository = session.repository()
    period = None if older_than is None else parse_period(older_than)
    if yes and not plan and not session.out.as_json:  # children and runs are not shown
        chosen = DeleteRule(keep_last or 0, period) if rule else None
        found = plan_delete(repository._core, wanted, dataset=entire_dataset, rule=chosen, children=False)
    else:
        found = repository.plan_delete(
            wanted, entire_dataset=entire_dataset, keep_last=keep_last, older_than=period
        )
    if plan or not found.versions:
        session.out.show(_values(found, deleted=False), _lines(found))
        if not plan:
            session.out.note("Nothing to delete.")
        return
    if not force:
        refuse_tagged(found)
    if not yes:
        what = _what(found, entire_dataset=entire_dataset)
        session.out.confirm(_lines(found), f"Delete {what}?", f"deleting {what}")
    gone = execute_delete(repository._core, found, author=author(), reason=reason, force=force)
    session.out.show(_values(found, deleted=True), [])
    session.out.note(
        f"Deleted {count(len(gone), 'version')} ({_listing([each.ref for each in gone])}); "
        "`dataver gc` frees the bytes when the grace period is over."
    )
    if found.kept and yes:
        session.out.note(f"Kept: {', '.join(f'{ref} ({why})' for ref, why in found.kept.items())}.")


def _names(
    refs: tuple[str, ...], name: str | None, project: str | None, label: str | None
) -> tuple[str, ...]:
    """Return the references, also if they are given by the options of ClearML Data."""
    if name:
        refs = (f"{project.strip('/')}/{name}" if project else name, *refs)
    if not refs:
        raise click.UsageError("missing version: dataver delete NAME@LABEL")
    return tuple(f"{ref}@{label}" for ref in refs) if label else refs


def _check(ref: str, *, whole: bool) -> None:
    version = "@" in ref or ":" in ref
    if whole and version:
        raise click.UsageError(f"{ref} is a version: name a dataset, or leave out the option that needs one")
    if not whole and not version:
        raise click.UsageError(
            f"{ref} is a dataset: name a version of it, or add --keep-last, --older-than or --entire-dataset"
        )


def _what(plan: "DeletePlan", *, entire_dataset: bool) -> str:
    if entire_dataset:
        return f"the dataset {', '.join(sorted({each.published.record.dataset for each in plan.versions}))}"
    return plan.versions[0].ref if len(plan.versions) == 1 else count(len(plan.versions), "version")


def _lines(plan: "DeletePlan") -> "Iterator[str]":
    for each in plan.versions:
        yield f"{each.ref}  dv1:{each.published.record.tree.hex()[:SHORT]}"
        if each.tags:
            yield f"  tags      {', '.join(each.tags)}"
        if each.children:
            yield f"  children  {_listing(each.children)} (they stay complete)"
        if each.runs is None:
            yield "  runs      unknown: the lineage could not be read"
        elif each.runs:
            yield f"  runs      {_listing(each.runs)} (they stay linked to its name and digest)"
    for ref, why in plan.kept.items():
        yield f"{ref}  kept: {why}"


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
        "kept": plan.kept,
    }


def _listing(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
