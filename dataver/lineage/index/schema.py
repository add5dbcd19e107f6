"""The tables of the lineage index, and the migrations from older schemas.

Every key is derived from content (hashes of run keys, record ids and links), never from the order of arrival:
so an index rebuilt from the repository is equal, row for row.

`PRAGMA user_version` is the schema's number. `MIGRATIONS[n]` migrates version n to n + 1, in one transaction.
An index with a higher number was made by a newer dataver and is not changed.
"""

from dataver.hashing.digest import CONTEXT_RUN, derived

__all__ = ["MIGRATIONS", "SCHEMA", "run_number", "version_number"]

_FIRST = """
CREATE TABLE datasets (
    name TEXT PRIMARY KEY
) WITHOUT ROWID;

-- a version that only a link names (of another repository) has the record id alone
CREATE TABLE versions (
    id INTEGER PRIMARY KEY,             -- version_number(record)
    record TEXT NOT NULL UNIQUE,        -- 64 hex
    dataset TEXT REFERENCES datasets(name),
    label TEXT,
    tree TEXT,                          -- 64 hex
    write_id TEXT,
    created TEXT,                       -- UTC, microseconds, as in the record
    author TEXT,
    message TEXT,
    files INTEGER,
    size INTEGER,
    base INTEGER REFERENCES versions(id), -- the version that `changes` are counted from; NULL: from nothing
    changed INTEGER NOT NULL DEFAULT 0, -- 1 once its rows in `changes` are complete
    kept INTEGER                        -- files of the base whose content it still holds, once complete
);
CREATE INDEX versions_by_name ON versions(dataset, label);
CREATE INDEX versions_by_tree ON versions(tree);
CREATE INDEX versions_by_write_id ON versions(write_id) WHERE write_id IS NOT NULL;
CREATE INDEX versions_by_base ON versions(base) WHERE base IS NOT NULL;

CREATE TABLE parents (
    version INTEGER NOT NULL REFERENCES versions(id),
    position INTEGER NOT NULL,
    parent INTEGER NOT NULL REFERENCES versions(id),
    PRIMARY KEY (version, position)
) WITHOUT ROWID;
CREATE INDEX parents_by_parent ON parents(parent);

CREATE TABLE tags (
    dataset TEXT NOT NULL REFERENCES datasets(name),
    tag TEXT NOT NULL,
    version INTEGER NOT NULL REFERENCES versions(id),
    number INTEGER NOT NULL,
    PRIMARY KEY (dataset, tag)
) WITHOUT ROWID;
CREATE INDEX tags_by_version ON tags(version);

-- what all processes of a run say together; follows from `processes`
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,             -- run_number(key)
    key TEXT NOT NULL UNIQUE,           -- system:id
    name TEXT,
    started TEXT NOT NULL,
    ended TEXT,
    outcome TEXT,
    user TEXT,
    host TEXT,
    commit_id TEXT,                     -- git commit
    part_of TEXT                        -- key of the run that took over
);
CREATE INDEX runs_by_start ON runs(started);

CREATE TABLE processes (
    run INTEGER NOT NULL REFERENCES runs(id),
    process TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    event TEXT NOT NULL,                -- the event that holds: highest (sequence, event)
    name TEXT,
    started TEXT NOT NULL,
    ended TEXT,
    outcome TEXT,
    part_of TEXT,
    user TEXT,                          -- this and the next two: out of `facts`, where they are texts
    host TEXT,
    commit_id TEXT,
    facts TEXT NOT NULL,                -- canonical JSON
    PRIMARY KEY (run, process)
) WITHOUT ROWID;

CREATE TABLE contexts (
    run INTEGER NOT NULL REFERENCES runs(id),
    key TEXT NOT NULL,                  -- system:id
    kind TEXT NOT NULL,
    facts TEXT NOT NULL,                -- canonical JSON; of several, the greatest (event) holds
    event TEXT NOT NULL,
    PRIMARY KEY (run, key)
) WITHOUT ROWID;
CREATE INDEX contexts_by_key ON contexts(key);

CREATE TABLE links (
    id BLOB PRIMARY KEY,                -- link_id, 16 bytes
    run INTEGER NOT NULL REFERENCES runs(id),
    role TEXT NOT NULL,
    version INTEGER REFERENCES versions(id), -- NULL: an output that is not published yet
    named INTEGER,                      -- the version whose record the link gives, if it gives one;
                                        -- `version` is that, or for outputs the one with the write id
    write_id TEXT,
    dataset TEXT NOT NULL,              -- as the link says it, like the next two
    label TEXT,
    tree TEXT NOT NULL,
    subset TEXT NOT NULL,               -- canonical JSON; {} is the whole version
    files INTEGER NOT NULL,
    size INTEGER NOT NULL,
    time TEXT NOT NULL,                 -- the earliest that any event gives
    how TEXT NOT NULL,
    context TEXT
) WITHOUT ROWID;
CREATE INDEX links_by_run ON links(run);
CREATE INDEX links_by_version ON links(version, role, time, run);
CREATE INDEX links_by_write_id ON links(write_id) WHERE write_id IS NOT NULL;

-- what a version changes against its base. `content`: the first 16 bytes of a file's digest.
CREATE TABLE changes (
    content BLOB NOT NULL,
    version INTEGER NOT NULL REFERENCES versions(id),
    path TEXT NOT NULL,
    kind INTEGER NOT NULL,              -- 1: from this version on the path holds the content; 0: no longer
    PRIMARY KEY (content, version, path, kind)
) WITHOUT ROWID;
CREATE INDEX changes_by_path ON changes(path);

-- what was read already, so that pulling is incremental; not part of what `rebuild` must reproduce
CREATE TABLE seen (
    key TEXT PRIMARY KEY,
    problem TEXT                        -- why it, or a part of it, was left out
) WITHOUT ROWID;
CREATE TABLE state (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
"""

# a deleted version keeps its row, with the data of its tombstone
_DELETED = """
ALTER TABLE versions ADD COLUMN deleted TEXT; -- when, by its tombstone; NULL: it is not deleted
"""

# the links of a launch belong to the one run that has the launch as a context (`launches.py`)
_LAUNCHES = """
ALTER TABLE links ADD COLUMN said INTEGER; -- the launch whose link it is, where `run` is another; else NULL
CREATE INDEX links_by_said ON links(said) WHERE said IS NOT NULL;
CREATE TEMP TABLE owned AS
    SELECT launch.id AS launch, min(r.id) AS owner FROM runs launch
    JOIN contexts c ON c.key = launch.key JOIN runs r ON r.id = c.run
    WHERE launch.key >= 'torchrun:' AND launch.key < 'torchrun;'
    AND NOT (r.key >= 'torchrun:' AND r.key < 'torchrun;') GROUP BY launch.id HAVING count(*) = 1;
UPDATE links SET said = run, run = (SELECT owner FROM owned WHERE launch = links.run)
    WHERE run IN (SELECT launch FROM owned);
UPDATE runs SET part_of = (SELECT r.key FROM owned o JOIN runs r ON r.id = o.owner WHERE o.launch = runs.id)
    WHERE id IN (SELECT launch FROM owned);
DROP TABLE owned;
"""

MIGRATIONS: tuple[str, ...] = (_FIRST, _DELETED, _LAUNCHES)
SCHEMA = len(MIGRATIONS)


def run_number(key: str) -> int:
    """Return the number of a run in the index: 63 bits of a hash of its key."""
    return _number(derived(CONTEXT_RUN, key.encode("utf-8")))


def version_number(record: str) -> int:
    """Return the number of a version in the index: the first 63 bits of its record id (64 hex)."""
    return _number(bytes.fromhex(record))


def _number(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "big") >> 1
