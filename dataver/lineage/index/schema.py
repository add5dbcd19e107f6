"""The tables of the lineage index and the migrations from older schemas, made with sqlite-utils.

Imported only to create or migrate an index: the import of sqlite-utils takes longer than most queries.
`PRAGMA user_version` is the number of applied migrations, so an index that is up to date needs no import.

A change of the schema is one more function at the end and a higher `SCHEMA` in `index.py`.
"""

from sqlite_utils import Database, Migrations

__all__ = ["MIGRATIONS"]

MIGRATIONS = Migrations("lineage")

# the largest table; sqlite-utils creates only tables with row ids, which would need 30 % more space
_CHANGES = """
CREATE TABLE changes (
    content BLOB NOT NULL,  -- the first 16 bytes of a file's digest
    version INTEGER NOT NULL REFERENCES versions(id),
    path TEXT NOT NULL,
    kind INTEGER NOT NULL,  -- 1: from this version on the path holds the content; 0: no longer
    PRIMARY KEY (content, version, path, kind)
) WITHOUT ROWID
"""


@MIGRATIONS()
def versions(db: Database) -> None:
    """Create the tables of versions. A version that only a link names has the record id alone."""
    db.table("datasets").create({"name": str}, pk="name")
    db.table("versions").create(
        {
            "id": int,  # version_number(record)
            "record": str,  # 64 hex
            "dataset": str,
            "label": str,
            "tree": str,  # 64 hex
            "write_id": str,
            "created": str,  # UTC, microseconds, as in the record
            "author": str,
            "message": str,
            "files": int,
            "size": int,
            "base": int,  # the version that `changes` are counted from; NULL: from nothing
            "changed": int,  # 1 once its rows in `changes` are complete
            "kept": int,  # files of the base whose content it still holds, once complete
            "deleted": str,  # when, by its tombstone; NULL: it is not deleted
        },
        pk="id",
        not_null={"record", "changed"},
        defaults={"changed": 0},
        foreign_keys=[("dataset", "datasets", "name"), ("base", "versions", "id")],
    )
    db.table("versions").create_index(["record"], unique=True)
    for columns in (["dataset", "label"], ["tree"], ["write_id"], ["base"]):
        db.table("versions").create_index(columns)
    db.table("parents").create(
        {"version": int, "position": int, "parent": int},
        pk=("version", "position"),
        not_null={"version", "position", "parent"},
        foreign_keys=[("version", "versions", "id"), ("parent", "versions", "id")],
    )
    db.table("parents").create_index(["parent"])
    db.table("tags").create(
        {"dataset": str, "tag": str, "version": int, "number": int},
        pk=("dataset", "tag"),
        not_null={"dataset", "tag", "version", "number"},
        foreign_keys=[("dataset", "datasets", "name"), ("version", "versions", "id")],
    )
    db.table("tags").create_index(["version"])
    db.execute(_CHANGES)
    db.table("changes").create_index(["path"])


@MIGRATIONS()
def runs(db: Database) -> None:
    """Create the tables of runs and their links."""
    _create_runs(db)
    _create_links(db)


def _create_runs(db: Database) -> None:
    db.table("runs").create(  # follows from `processes`
        {
            "id": int,  # run_number(key)
            "key": str,  # system:id
            "name": str,
            "started": str,
            "ended": str,
            "outcome": str,
            "user": str,
            "host": str,
            "commit_id": str,  # git commit
            "part_of": str,  # key of the run that took over
        },
        pk="id",
        not_null={"key", "started"},
    )
    db.table("runs").create_index(["key"], unique=True)
    db.table("runs").create_index(["started"])
    db.table("processes").create(
        {
            "run": int,
            "process": str,
            "sequence": int,
            "event": str,  # the event that holds: highest (sequence, event)
            "name": str,
            "started": str,
            "ended": str,
            "outcome": str,
            "part_of": str,
            "user": str,  # this and the next two: out of `facts`, where they are texts
            "host": str,
            "commit_id": str,
            "facts": str,  # canonical JSON
        },
        pk=("run", "process"),
        not_null={"run", "process", "sequence", "event", "started", "facts"},
        foreign_keys=[("run", "runs", "id")],
    )
    db.table("contexts").create(
        {
            "run": int,
            "key": str,  # system:id
            "kind": str,
            "facts": str,  # canonical JSON; of several, the greatest (event) holds
            "event": str,
        },
        pk=("run", "key"),
        not_null={"run", "key", "kind", "facts", "event"},
        foreign_keys=[("run", "runs", "id")],
    )
    db.table("contexts").create_index(["key"])


def _create_links(db: Database) -> None:
    db.table("links").create(
        {
            "id": bytes,  # link_id, 16 bytes
            "run": int,
            "role": str,
            "version": int,  # NULL: an output that is not published yet
            "named": int,  # the version whose record the link gives, if it gives one;
            # `version` is that, or for outputs the one with the write id
            "write_id": str,
            "dataset": str,  # as the link says it, like the next two
            "label": str,
            "tree": str,
            "subset": str,  # canonical JSON; {} is the whole version
            "files": int,
            "size": int,
            "time": str,  # the earliest that any event gives
            "how": str,
            "context": str,
            "said": int,  # the launch whose link it is, where `run` is another (`assign_launches`); else NULL
        },
        pk="id",
        not_null={"id", "run", "role", "dataset", "tree", "subset", "files", "size", "time", "how"},
        foreign_keys=[("run", "runs", "id"), ("version", "versions", "id")],
    )
    for columns in (["run"], ["version", "role", "time", "run"], ["write_id"], ["said"]):
        db.table("links").create_index(columns)


@MIGRATIONS()
def progress(db: Database) -> None:
    """Create the tables that make pulls incremental; `rebuild` need not reproduce them."""
    db.table("seen").create(
        {"key": str, "problem": str}, pk="key"
    )  # problem: why it, or a part, was left out
    db.table("state").create({"name": str, "value": str}, pk="name", not_null={"value"})


@MIGRATIONS()
def search(db: Database) -> None:
    """Create the tables of `dataver.search`, which only a search fills, and their full-text indexes."""
    db.table("texts").create(
        {
            "ref": str,  # dataset@label, or the name of a dataset
            "dataset": str,
            "label": str,  # NULL: the dataset as a whole
            "version": int,
            "stamp": str,  # number and stamp of its description; empty: it has none
            "message": str,
            "text": str,  # this and the next four: of the description
            "license": str,
            "owner": str,
            "readme": str,
            "metadata": str,  # JSON; of the description, else of the record
        },
        pk="ref",
        not_null={"dataset", "stamp"},
    )
    db.table("paths").create({"id": int, "path": str}, pk="id", not_null={"path"})
    db.table("paths").create_index(["path"], unique=True)
    db.table("listed").create({"version": int}, pk="version")  # versions whose paths are in `paths`
    for table, columns in (
        ("texts", ["ref", "message", "text", "license", "owner", "readme", "metadata"]),
        ("paths", ["path"]),
    ):
        # without triggers, which SQLite refuses for such a table in a file that it does not trust
        db.table(table).enable_fts(columns, tokenize="unicode61")


@MIGRATIONS()
def columns(db: Database) -> None:
    """Create the tables of the names of tables' columns, which only a search fills."""
    db.table("columns").create(
        {
            "id": int,
            "content": bytes,  # as in `changes`
            "names": str,  # lines
        },
        pk="id",
        not_null={"content", "names"},
    )
    db.table("columns").create_index(["content"], unique=True)
    db.table("profiled").create({"key": str}, pk="key")  # objects of profiles whose columns are in `columns`
    db.table("columns").enable_fts(["names"], tokenize="unicode61")
