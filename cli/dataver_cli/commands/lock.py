"""`dataver lock`."""

from typing import TYPE_CHECKING

import click

from dataver_cli.command import subcommand
from dataver_cli.completing import complete_ref
from dataver_cli.output import count, size, table
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver._lock import LockedVersion, LockFile
    from dataver.repository import Repository

_SAYS = {
    "same": "as locked",
    "moved": "moved",
    "gone": "gone",
    "changed": "REPLACED",
    "elsewhere": "locked in another repository",
}


@subcommand(
    "lock",
    examples="""
        dataver lock vision/cats@production raw/text   # writes dataver.lock: commit it with the code
        dataver fetch --locked vision/cats@production  # exactly that version, wherever the tag points now
        dataver lock                                   # what is locked
        dataver lock --check                           # in CI: fails when a name has moved on
        dataver lock --update                          # lock again what the same names mean now
    """,
)
@click.argument("refs", nargs=-1, metavar="[REF]...", shell_complete=complete_ref)
@click.option("--check", is_flag=True, help="Change nothing; fail where a name means another version now.")
@click.option("--update", is_flag=True, help="Lock again what all locked names mean now.")
@click.option("--remove", is_flag=True, help="Take REF out of the lock.")
def command(session: Session, refs: tuple[str, ...], check: bool, update: bool, remove: bool) -> None:
    """Write down which versions this code uses, in `dataver.lock` beside it.

    REF is what the code asks for: name, name@label, name@tag, name@latest. The lock keeps the version that
    it means now, with its digest. It lies in the nearest folder upwards that has one, else at the top of the
    project.
    """
    from dataver._lock import LockFile

    if check + update + remove > 1 or (refs and (check or update)) or (remove and not refs):
        raise click.UsageError("give REF... to lock or with --remove, or one of --check and --update alone")
    lock = LockFile.find()
    if check:
        _check(session, lock)
    elif remove:
        gone = [lock.remove(ref) for ref in refs]
        lock.save()
        session.out.show({"path": str(lock.path), "removed": [each.asked for each in gone]}, [])
        session.out.note(f"Took {', '.join(each.asked for each in gone)} out of {lock.path}.")
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
        was = f" (was {old.ref})" if old and old.record != each.record else "" if not old else " (as before)"
        session.out.note(f"{each.asked} is {each.ref}{was}: {count(each.files, 'file')}, {size(each.size)}.")
    session.out.note(f"Wrote {lock.path}.")


def _show(session: Session, lock: "LockFile") -> None:
    rows = [(each.asked, each.ref, f"{each.files:,}", size(each.size), each.digest[:16]) for each in lock]
    header = ("ASKED", "VERSION", "FILES", "SIZE", "DIGEST")
    session.out.show(
        {"path": str(lock.path), "versions": [_values(each) for each in lock]},
        table(rows, header, right=(2, 3)) if rows else [],
    )
    if not rows:
        session.out.note("Nothing is locked here. `dataver lock NAME` locks a version.")


def _check(session: Session, lock: "LockFile") -> None:
    from dataver._lock import Drift
    from dataver.errors import Conflict, NotFound

    if not len(lock):
        raise NotFound(f"nothing is locked in {lock.path}.", hint="`dataver lock NAME` locks a version")
    findings = lock.check(session.repository())
    values = [{**_values(each.locked), "state": each.drift.value, "now": each.now} for each in findings]
    rows = [
        (each.locked.asked, each.locked.ref, _SAYS[each.drift.value], each.now or "-") for each in findings
    ]
    session.out.show(values, table(rows, ("ASKED", "LOCKED", "STATE", "NOW")))
    drifted = [each for each in findings if each.drift is not Drift.SAME]
    if drifted:
        names = ", ".join(each.locked.asked for each in drifted)
        raise Conflict(
            f"{count(len(drifted), 'locked version')} of {len(findings)} drifted: {names}.",
            hint="`dataver lock --update` takes over what the names mean now; commit the lock",
        )
    session.out.note(f"All of {count(len(findings), 'locked version')} are as locked.")


def _values(locked: "LockedVersion") -> dict[str, object]:
    from dataclasses import asdict

    return {**asdict(locked), "ref": locked.ref}
