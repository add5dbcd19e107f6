"""`dataver lock`."""

from typing import TYPE_CHECKING

import click

from dataver_cli.command import subcommand
from dataver_cli.completing import complete_ref
from dataver_cli.output import SHORT, count, size, table
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver import Repository
    from dataver.api.lockfile import LockedVersion, LockFile

_STATES = {
    "same": "unchanged",
    "moved": "moved",
    "gone": "gone",
    "changed": "REPLACED",
    "elsewhere": "locked in another repository",
}


@subcommand(
    "lock",
    examples="""
        dataver lock vision/cats@production raw/text   # writes dataver.lock: commit it with the code
        dataver fetch --locked vision/cats@production  # exactly that version, even if the tag has moved
        dataver lock                                   # list the locked versions
        dataver lock --check                           # in CI: fails if a name has moved
        dataver lock --update                          # lock the current versions of the same names
    """,
)
@click.argument("refs", nargs=-1, metavar="[REF]...", shell_complete=complete_ref)
@click.option("--check", is_flag=True, help="Change nothing; fail if a name now refers to another version.")
@click.option("--update", is_flag=True, help="Lock the current versions of all locked names.")
@click.option("--remove", is_flag=True, help="Remove REF from the lock file.")
def command(session: Session, refs: tuple[str, ...], check: bool, update: bool, remove: bool) -> None:
    """Record which versions this code uses, in `dataver.lock`.

    REF is a name that the code uses: name, name@label, name@tag, name@latest. The lock file records the
    version that it refers to now, with its digest. The nearest dataver.lock in this folder or above is used,
    else a new one at the top of the project.
    """
    from dataver.api.lockfile import LockFile

    if check + update + remove > 1 or (refs and (check or update)) or (remove and not refs):
        raise click.UsageError("REF... can be used alone or with --remove; --check and --update take no REF")
    lock = LockFile.find()
    if check:
        _check(session, lock)
    elif remove:
        gone = [lock.remove(ref) for ref in refs]
        lock.save()
        session.out.show({"path": str(lock.path), "removed": [each.asked for each in gone]}, [])
        session.out.note(f"Removed {', '.join(each.asked for each in gone)} from {lock.path}.")
    elif refs or update:
        _lock(session, lock, refs or [each.asked for each in lock])
    else:
        _show(session, lock)


def _lock(session: Session, lock: "LockFile", refs: "tuple[str, ...] | list[str]") -> None:
    repository: Repository = session.repository()
    before = {each.asked: each for each in lock}
    locked = [lock.add(repository, ref) for ref in refs]
    lock.save()
    session.out.show({"path": str(lock.path), "versions": [_values(each) for each in locked]}, [])
    for each in locked:
        old = before.get(each.asked)
        was = f" (was {old.ref})" if old and old.record != each.record else "" if not old else " (unchanged)"
        session.out.note(f"{each.asked} is {each.ref}{was}: {count(each.files, 'file')}, {size(each.size)}.")
    session.out.note(f"Wrote {lock.path}.")


def _show(session: Session, lock: "LockFile") -> None:
    rows = [
        (each.asked, each.ref, f"{each.files:,}", size(each.size), each.digest[: 4 + SHORT]) for each in lock
    ]
    header = ("ASKED", "VERSION", "FILES", "SIZE", "DIGEST")
    session.out.show(
        {"path": str(lock.path), "versions": [_values(each) for each in lock]},
        table(rows, header, right=(2, 3), omit=(4, 2)) if rows else [],
    )
    if not rows:
        session.out.note("Nothing is locked here. `dataver lock NAME` locks a version.")


def _check(session: Session, lock: "LockFile") -> None:
    from dataver.api.lockfile import Drift
    from dataver.errors import Conflict, NotFound

    if not len(lock):
        raise NotFound(f"{lock.path} contains no versions.", hint="`dataver lock NAME` locks a version")
    findings = lock.check(session.repository())
    values = [{**_values(each.locked), "state": each.drift.value, "now": each.now} for each in findings]
    rows = [
        (each.locked.asked, each.locked.ref, _STATES[each.drift.value], each.now or "-") for each in findings
    ]
    session.out.show(values, table(rows, ("ASKED", "LOCKED", "STATE", "NOW")))
    drifted = [each for each in findings if each.drift is not Drift.SAME]
    if drifted:
        names = ", ".join(each.locked.asked for each in drifted)
        raise Conflict(
            f"{count(len(drifted), 'locked version')} of {len(findings)} differ: {names}.",
            hint="`dataver lock --update` records the current versions; commit the lock file",
        )
    session.out.note(f"{count(len(findings), 'locked version')}, all unchanged.")


def _values(locked: "LockedVersion") -> dict[str, object]:
    from dataclasses import asdict

    return {**asdict(locked), "ref": locked.ref}
