"""An event: one immutable JSON object that records facts about one run, and the versions that it used.

The idea: events only accumulate. The state of lineage is a function of the *set* of all events, so replaying,
duplicating or reordering them changes nothing:

- the facts that a process records of a run (`RunFacts`) are complete; of several events of one process, the
  one with the highest `(sequence, event id)` is current;
- contexts and links are united. A link's identity is a hash of its fields (`link_id`), so the same fetch
  twice, or in eight ranks of one run, is one link; its earliest time counts.

Canonical JSON (`canonical_json`), at most 1 MiB. `docs/format.md` lists the keys. Keeps invariants 1 (an
event that does not parse strictly is never used) and 7. It does not define where events are stored.
"""

import re
import time
from datetime import datetime
from typing import Any, Final, NamedTuple

from dataver.errors import IntegrityError, InvalidInput
from dataver.formats.canonical_json import (
    Fields,
    decode_json,
    encode_checked,
    encode_json,
    format_time,
    is_hex,
)
from dataver.formats.context import KINDS, Context
from dataver.formats.names import check_dataset_name, check_label
from dataver.hashing.digest import CONTEXT_LINK, derived

# Imports in functions: secrets is needed to name a new event.

__all__ = [
    "KINDS",
    "OUTCOMES",
    "Context",
    "Event",
    "Link",
    "RunFacts",
    "Subset",
    "check_run_key",
    "link_id",
    "new_event_id",
    "parse_event",
]

FORMAT: Final = 1
MAX_LINKS: Final = 4_000
MAX_CONTEXTS: Final = 64
MAX_LISTED: Final = 2_000  # paths stored in a link; longer lists go into an attachment
OUTCOMES: Final = ("finished", "failed", "killed")
ROLES: Final = ("input", "output")

# no spaces, no control characters, and nothing that changes how a terminal shows the rest of a line
_RUN_KEY: Final = (
    r"[a-z][a-z0-9_-]{0,31}:"
    r"[^\x00-\x20\x7f-\xa0\xad\u061c\u115f\u1160\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\u3164"
    r"\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff\U000e0000-\U000e0fff]{1,480}"
)
_ASCII_RUN_KEY: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}:[!-~]{1,480}")  # the same; 3 ms sooner compiled
_LATEST: Final = 32_503_679_999_999  # milliseconds of the last moment of 2999
_SYSTEM: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")


class RunFacts(NamedTuple):
    """Facts that one process records about its run.

    Attributes:
        key: the run: its primary context's key, or `dataver:<32 hex>` if the user named it or it has no
            context.
        process: 32 random hex digits of the process (a forked child draws its own).
        sequence: grows with each event of this process about this run.
        name: the user's name for it, or None.
        contexts: all contexts of the run, primary first.
        started: time of the start, aware UTC.
        ended: time of the end, or None while it runs.
        outcome: one of `OUTCOMES`, or None while it runs.
        part_of: the key of the run that took over this run's links (a tracker's run that began later).
        facts: JSON values about the process: `argv`, `host`, `user`, `python`, `platform`, `git`, `packages`.
    """

    key: str
    process: str
    sequence: int
    started: datetime
    name: str | None = None
    contexts: tuple[Context, ...] = ()
    ended: datetime | None = None
    outcome: str | None = None
    part_of: str | None = None
    facts: dict[str, Any] = {}  # noqa: RUF012


class Subset(NamedTuple):
    """The part of a version that was read; an empty `Subset()` is the whole version.

    Attributes:
        patterns: globs that selected the files, as in `fetch(include=…)`.
        paths: the files, sorted, if they were read one by one.
        listed: the attachment (64 hex) that lists the files, if they are too many for `paths`.
        shard: `(rank, world)` if the files were split; of those that `patterns` and `exclude` select.
        exclude: globs of files that were left out again, as in `fetch(exclude=…)`.
    """

    patterns: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    listed: str | None = None
    shard: tuple[int, int] | None = None
    exclude: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any(self)

    def values(self) -> dict[str, Any]:
        """Return it as JSON values; empty fields are left out, so the whole version is `{}`."""
        found: dict[str, Any] = {}
        if self.patterns:
            found["patterns"] = list(self.patterns)
        if self.paths:
            found["paths"] = list(self.paths)
        if self.listed:
            found["listed"] = self.listed
        if self.shard:
            found["shard"] = list(self.shard)
        if self.exclude:
            found["exclude"] = list(self.exclude)
        return found

    @classmethod
    def of(cls, values: dict[str, Any], what: str = "a subset") -> "Subset":
        """Return the subset from JSON values.

        Raises:
            IntegrityError: the values are not a subset.
        """
        patterns, paths, exclude = (values.get(name, []) for name in ("patterns", "paths", "exclude"))
        listed, shard = values.get("listed"), values.get("shard")
        for texts in (patterns, paths, exclude):
            if (
                type(texts) is not list
                or len(texts) > MAX_LISTED
                or not all(type(text) is str for text in texts)
            ):
                raise IntegrityError(f"{what}: the subset is not a list of up to {MAX_LISTED} texts")
        if listed is not None and not (type(listed) is str and is_hex(listed, 64)):
            raise IntegrityError(f"{what}: 'listed' is not 64 hexadecimal digits")
        if shard is not None:
            numbers = type(shard) is list and len(shard) == 2 and all(type(number) is int for number in shard)
            if not (numbers and 0 <= shard[0] < shard[1]):
                raise IntegrityError(f"{what}: 'shard' is not a rank and a world size")
        return cls(
            patterns=tuple(patterns),
            paths=tuple(paths),
            listed=listed,
            shard=tuple(shard) if shard else None,
            exclude=tuple(exclude),
        )


class Link(NamedTuple):
    """One edge: a run consumed or produced a version.

    Attributes:
        role: `input` or `output`.
        dataset: the dataset's name at that time.
        label: the version's label; None for an output that was not yet published.
        record: the id of its record, 64 hex; None for an output that was not yet published.
        write_id: the record's write id, 32 hex, by which an output is found once published; None for inputs.
        tree: the digest of its tree, 64 hex.
        subset: the part that was read.
        files: number of files in that part.
        size: their size in bytes.
        time: time of the use, aware UTC.
        how: `fetch`, `read`, `finalize`, `declared` …
        context: the key of the active tracker run, if that is not the run's own key; else None.
    """

    role: str
    dataset: str
    tree: str
    time: datetime
    how: str
    label: str | None = None
    record: str | None = None
    write_id: str | None = None
    subset: Subset = Subset()
    files: int = 0
    size: int = 0
    context: str | None = None

    def values(self) -> dict[str, Any]:
        """Return the link as JSON values."""
        return {
            "context": self.context,
            "dataset": self.dataset,
            "files": self.files,
            "how": self.how,
            "label": self.label,
            "record": self.record,
            "role": self.role,
            "size": self.size,
            "subset": self.subset.values(),
            "time": format_time(self.time, "a link"),
            "tree": self.tree,
            "write_id": self.write_id,
        }


class Event(NamedTuple):
    """Facts recorded about one run.

    Attributes:
        id: 32 hex digits that sort by the time of writing (`new_event_id`).
        written: time of writing, aware UTC, by the writer's clock.
        tool: name and version of the program that wrote it.
        run: the run, as recorded by one process.
        links: versions that it consumed or produced.
    """

    id: str
    written: datetime
    tool: str
    run: RunFacts
    links: tuple[Link, ...] = ()

    @property
    def attachments(self) -> set[str]:
        """The digests of the attachments that it refers to."""
        git = self.run.facts.get("git")
        named = [self.run.facts.get("packages"), git.get("diff") if isinstance(git, dict) else None]
        named += [link.subset.listed for link in self.links]
        return {name for name in named if isinstance(name, str)}

    def encode(self) -> bytes:
        """Return the event's bytes.

        Raises:
            InvalidInput: a value that an event cannot hold, or more than 1 MiB.
        """
        what = f"the event {self.id}"
        run = self.run
        values = {
            "format": FORMAT,
            "id": self.id,
            "links": [link.values() for link in self.links],
            "run": {
                "contexts": [
                    {"facts": each.facts, "id": each.id, "kind": each.kind, "system": each.system}
                    for each in run.contexts
                ],
                "ended": None if run.ended is None else format_time(run.ended, what),
                "facts": run.facts,
                "key": run.key,
                "name": run.name,
                "outcome": run.outcome,
                "part_of": run.part_of,
                "process": run.process,
                "sequence": run.sequence,
                "started": format_time(run.started, what),
            },
            "tool": self.tool,
            "written": format_time(self.written, what),
        }
        return encode_checked(values, what, _from_values)


def parse_event(data: bytes) -> Event:
    """Return the event in `data`.

    Raises:
        IntegrityError: not an event.
        FormatTooNew: an event of a newer version.
    """
    return _from_values(Fields(decode_json(data, "the event"), "the event"))


def new_event_id(now_ns: int | None = None, noise: bytes | None = None) -> str:
    """Return a new id: 12 hex digits of Unix milliseconds, then 20 random ones; it sorts by time (UUIDv7).

    A clock before 1970 or after 2999 is replaced by the nearer limit. Source of the idea: RFC 9562,
    section 5.7.
    """
    if noise is None:
        import secrets

        noise = secrets.token_bytes(10)
    milliseconds = (time.time_ns() if now_ns is None else now_ns) // 1_000_000
    return f"{min(max(milliseconds, 0), _LATEST):012x}{noise.hex()}"


def link_id(run_key: str, link: Link) -> bytes:
    """Return the 16-byte identity of a link: equal for equal edges, regardless of recorder and time."""
    values = {
        "context": link.context,
        "dataset": link.dataset,
        "role": link.role,
        "run": run_key,
        "subset": link.subset.values(),
        "tree": link.tree,
        "version": link.write_id if link.role == "output" and link.write_id else link.record,
    }
    return derived(CONTEXT_LINK, encode_json(values, "a link"))[:16]


def check_run_key(key: str) -> str:
    """Return `key` if it is `system:id`.

    Raises:
        InvalidInput: it is not.
    """
    if not _is_run_key(key):
        raise InvalidInput(
            f"{key[:80]!r} is not a run: it must be system:id, with at most 480 visible characters.",
            hint="write it as in mlflow:4f1c or slurm:cluster/123",
        )
    return key


def _from_values(fields: Fields) -> Event:
    fields.expect_format(FORMAT)
    return Event(
        id=fields.hex("id", 32),
        written=fields.time("written"),
        tool=fields.text("tool"),
        run=_run(fields.table("run")),
        links=tuple(_link(each) for each in fields.tables("links", most=MAX_LINKS)),
    )


def _run(fields: Fields) -> RunFacts:
    ended = None if fields.optional_text("ended") is None else fields.time("ended")
    outcome, part_of = fields.optional_text("outcome"), fields.optional_text("part_of")
    if outcome is not None and outcome not in OUTCOMES:
        raise IntegrityError(f"{fields.what}: unknown outcome {outcome[:40]!r}")
    return RunFacts(
        key=_key(fields, fields.text("key")),
        process=fields.hex("process", 32),
        sequence=fields.number("sequence"),
        name=fields.optional_text("name"),
        contexts=tuple(_context(each) for each in fields.tables("contexts", most=MAX_CONTEXTS)),
        started=fields.time("started"),
        ended=ended,
        outcome=outcome,
        part_of=None if part_of is None else _key(fields, part_of),
        facts=fields.value("facts", dict),
    )


def _context(fields: Fields) -> Context:
    facts: dict[str, Any] = fields.value("facts", dict)
    kind, system = fields.text("kind"), fields.text("system")
    if kind not in KINDS or not _SYSTEM.fullmatch(system):
        raise IntegrityError(f"{fields.what} has an unknown kind or no system")
    if not all(type(value) is str for value in facts.values()):
        raise IntegrityError(f"{fields.what}: a fact is not text")
    context = Context(system=system, id=fields.text("id"), kind=kind, facts=facts)
    _key(fields, context.key)
    return context


def _link(fields: Fields) -> Link:
    role, dataset, label = fields.text("role"), fields.text("dataset"), fields.optional_text("label")
    if role not in ROLES:
        raise IntegrityError(f"{fields.what}: unknown role {role[:40]!r}")
    try:
        check_dataset_name(dataset)
        if label is not None:
            check_label(label)
    except InvalidInput as error:
        raise IntegrityError(f"{fields.what}: {error.message}") from error
    record = None if fields.optional_text("record") is None else fields.hex("record", 64)
    write_id = None if fields.optional_text("write_id") is None else fields.hex("write_id", 32)
    if record is None and write_id is None:
        raise IntegrityError(f"{fields.what} names no version")
    context = fields.optional_text("context")
    return Link(
        role=role,
        dataset=dataset,
        label=label,
        record=record,
        write_id=write_id,
        tree=fields.hex("tree", 64),
        subset=Subset.of(fields.value("subset", dict), fields.what),
        files=fields.number("files"),
        size=fields.number("size"),
        time=fields.time("time"),
        how=fields.text("how"),
        context=None if context is None else _key(fields, context),
    )


def _key(fields: Fields, key: str) -> str:
    if not _is_run_key(key):
        raise IntegrityError(f"{fields.what}: {key[:80]!r} is not the key of a run")
    return key


def _is_run_key(key: str) -> bool:
    if key.isascii():
        return _ASCII_RUN_KEY.fullmatch(key) is not None
    return re.fullmatch(_RUN_KEY, key) is not None
