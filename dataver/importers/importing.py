"""Importing the history of another tool: compare, read, publish.

The idea: each version of the source becomes a child of its parents' versions, and its record names it as in
the source. So a repeated import finds what is there and brings only the rest; an interrupted one continues,
also inside a large version: its draft stays, with a list of what was read.

Write order for each batch (invariant 4): the draft's tree, then the list. What cannot be brought is left out
of its version, whose metadata lists it, and reported (invariant 10).
"""

import json
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from dataver.api.draft import Draft
from dataver.api.one_step import OneStepDrafts
from dataver.api.repository import Repository
from dataver.api.version import Version
from dataver.errors import Conflict, DataverError, Incomplete, InvalidInput, StoreError
from dataver.formats.entry import Entry
from dataver.formats.record import MAX_PARENTS
from dataver.importers.changes import Changes, Parent, changes_since, checked_files, copies, name_of, names_of
from dataver.importers.history import IMPORTED, ImportedHistory
from dataver.importers.names import as_unicode, tag_name
from dataver.importers.reading import Places, Ready, ready_batches
from dataver.importers.runs import record_runs
from dataver.importers.source import Problems, Source, SourceFile, SourceVersion
from dataver.ingest.external import ExternalReport, record_outside
from dataver.ingest.external_listing import ExternalFile, Outside
from dataver.ingest.scan import Scan, ScannedItem
from dataver.machine.paths import workspace_of
from dataver.progress import SILENT, Progress, receiver
from dataver.repository import Published
from dataver.repository.external_trust import allow, is_allowed
from dataver.repository.lines import Behind
from dataver.short_repr import short_repr

__all__ = ["ImportReport", "import_versions"]

_READ = "imported.jsonl"  # in the draft's folder: what was read
_NAMED = 100  # paths that metadata names as left out
_STEP = 4 << 30  # bytes of contents after which the draft is made durable
_FILES = 50_000  # and their number
_SHORT = 1000  # characters of a message that cannot be kept, and of a path that is left out
_TICK = timedelta(microseconds=1)


@dataclass
class ImportReport:
    """Result of an import. Sizes in bytes.

    Attributes:
        versions: the versions made, in their order.
        known: versions of the source that an earlier import brought.
        files: contents read.
        size: their bytes.
        stored: bytes stored for them, compressed.
        tags: `(tag, version)` of tags that were set.
        places: URLs that this machine is now allowed to read.
        seconds: wall time.
        problems: `(name, reason)` of everything that could not be brought.
    """

    versions: list[Version] = field(default_factory=list)
    known: int = 0
    files: int = 0
    size: int = 0
    stored: int = 0
    tags: list[tuple[str, str]] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    seconds: float = 0.0
    problems: list[tuple[str, str]] = field(default_factory=list)

    __repr__ = short_repr


def import_versions(
    repo: Repository,
    source: Source,
    *,
    in_place: bool = False,
    strict: bool = False,
    workspace: str | Path | None = None,
    progress: Progress | bool = SILENT,
) -> ImportReport:
    """Make a version of each version of a source that no earlier import has made.

    Args:
        repo: the repository.
        source: the other tool's history.
        in_place: record objects of the source where they are, as `Draft.add_external` does, instead of
            storing their bytes; this allows this machine to read the places.
        strict: make no version that lacks a file that the source names; raise an error instead.
        workspace: the folder that keeps drafts meanwhile, as for `Repository.create`.
        progress: receives counts of files and bytes; True shows a bar.

    Raises:
        InvalidInput: it is no such source.
        StoreError: a store failed or cannot be reached; repeating the call continues.
        Incomplete: with `strict`, a version would lack a file; repeating the call continues.
    """
    began = time.perf_counter()
    with receiver(progress, "Importing", fresh="new") as shown:
        operation = _Import(repo, source, workspace_of(workspace), shown, in_place=in_place, strict=strict)
        operation.run()
    operation.report.seconds = time.perf_counter() - began
    return operation.report


class _Import:
    """One call of `import_versions`."""

    def __init__(
        self,
        repo: Repository,
        source: Source,
        home: Path,
        progress: Progress,
        *,
        in_place: bool,
        strict: bool,
    ) -> None:
        self._repo, self._core, self._source = repo, repo._core, source
        self._home, self._progress = home, progress
        self._in_place, self._strict = in_place, strict
        self._places = Places(source)
        self._history = ImportedHistory(self._core, source.kind)
        self._tags: dict[str, dict[str, str]] = {}
        self._names: dict[tuple[str, str], str] = {}  # by dataset and tag, the name in the source
        self._total = (0, 0)
        self.report = ImportReport()

    def run(self) -> None:
        """Bring every version of the source that is not there."""
        for wanted in self._source.versions():
            try:
                self._import(wanted)
            except StoreError as error:
                again = "repeat the import to continue"
                error.hint = f"{error.hint}; then {again}" if error.hint else again
                raise
        self._refuse("The source", self._source.problems)
        self.report.problems += self._source.problems

    def _import(self, wanted: SourceVersion) -> None:
        published = self._history.find(wanted)
        if published is None and self._history.is_deleted(wanted):
            self._history.leave_out(wanted)
            self.report.known += 1
            return
        if published is not None:
            self.report.known += 1
        else:
            problems: Problems = []
            self.report.problems += self._history.beside(wanted.dataset)
            files = listed(wanted, problems)
            self._refuse(wanted.key, [*self._source.problems, *problems])
            if files is None:
                self._history.leave_out(wanted)
                self.report.problems += problems
                return
            published = self._bring(wanted, files, problems)
            self.report.problems += [(f"{path} in {published.ref}", reason) for path, reason in problems]
        self._set_tags(wanted, published)
        if wanted.produced_by or wanted.used_by:
            version = Version.of(self._core, published)
            record_runs(self._repo, version, wanted.produced_by, wanted.used_by)

    def _refuse(self, name: str, problems: Problems) -> None:
        """Raise an error if nothing may be left out."""
        if self._strict and problems:
            first, reason = problems[0]
            more = f" (and {len(problems) - 1:,} more)" if len(problems) > 1 else ""
            raise Incomplete(
                f"{name} cannot be imported as a whole: {first}: {reason}{more}.",
                hint="mend the source and repeat the import to continue; without --strict they are left out",
                problems=problems,
            )

    def _bring(self, wanted: SourceVersion, files: dict[str, SourceFile], problems: Problems) -> Published:
        """Make a version."""
        parents = self._history.parents(wanted)
        if len(parents) > MAX_PARENTS:
            reason = f"a version has at most {MAX_PARENTS} parents, and these are {len(parents)}"
            self.report.problems.append((f"parents of {wanted.key}", reason))
            parents = parents[:MAX_PARENTS]
        above = [each.published for each in parents]
        mirrors = f"{self._source.kind} {wanted.key}"
        drafts = OneStepDrafts(
            self._core, self._repo._given_url, self._home, wanted.dataset, mirrors, spool=None
        )
        try:
            draft = self._draft(drafts, above)
            self._fill(draft, files, parents, problems)
            self._refuse(wanted.key, problems)
            published = self._publish(draft, wanted, above, problems)
        finally:
            drafts.release()
        self._history.add(wanted, published, names_of(files, self._core.tree(published.record.tree)))
        return published

    def _publish(
        self, draft: Draft, wanted: SourceVersion, parents: Sequence[Published], problems: Problems
    ) -> Published:
        """Seal and publish a draft with the facts of the source."""
        created = wanted.created
        if created is not None:
            earliest = [each.record.created + _TICK for each in parents]
            created = min(max([created, *earliest]), datetime.now(UTC))
        names, label = self._core.records.names(wanted.dataset), wanted.label
        if label is not None and (tag_name(label) != label or label in {*names.labels, *names.deleted}):
            label = None  # labels have the rules of tags
        imported = {
            "from": self._source.kind,
            "source": as_unicode(self._source.location),
            "id": wanted.key,
            **({"created": wanted.created.isoformat()} if wanted.created not in (None, created) else {}),
            **({"label": wanted.label} if wanted.label != label else {}),
            **_left_out(problems),
        }
        seal = partial(draft.finalize, label=label, created=created, allow_empty=True)
        try:
            seal(
                wanted.message, author=wanted.author or None, metadata={**wanted.metadata, IMPORTED: imported}
            )
        except InvalidInput as error:  # too long, or not JSON: the data is worth more
            self.report.problems.append((f"message, author and metadata of {wanted.key}", error.message))
            author = _bounded(wanted.author) or None
            seal(_bounded(wanted.message), author=author, metadata={IMPORTED: imported})
        try:
            sent = draft.upload().version
        except Conflict as conflict:  # a fork, or another process imports the same source
            if (found := self._history.find_again(wanted)) is not None:
                draft.discard()
                self.report.known += 1
                return found
            if not isinstance(conflict, Behind):
                raise
            sent = draft.upload(allow_fork=True).version
        draft._core.forget()
        self.report.versions.append(sent)
        return sent._published()

    def _set_tags(self, wanted: SourceVersion, published: Published) -> None:
        """Point the tags of the source at its version, unless they do."""
        dataset, label = published.record.dataset, published.record.label
        if wanted.tags and dataset not in self._tags:
            self._tags[dataset] = self._repo.tagged(dataset)
        for name in wanted.tags:
            tag = tag_name(name) or ""
            first = self._names.setdefault((dataset, tag), name)
            if tag == label:
                continue
            if not tag or first != name:
                reason = f"it would be the same tag as {first}" if tag else "it is not a valid name of a tag"
                self.report.problems.append((f"tag {name} of {published.ref}", reason))
            elif self._tags[dataset].get(tag) != label:
                self._set_tag(tag, published)

    def _set_tag(self, tag: str, published: Published) -> None:
        try:
            self._repo.tag(published.ref, tag)
        except (Conflict, InvalidInput) as error:
            self.report.problems.append((f"tag {tag} of {published.ref}", error.message))
        else:
            self._tags[published.record.dataset][tag] = published.record.label
            self.report.tags.append((tag, published.ref))

    def _draft(self, drafts: OneStepDrafts, parents: Sequence[Published]) -> Draft:
        """Return the draft of an interrupted call, or a new one."""
        for draft in drafts.left_behind():
            if draft._core.is_child_of(parents):
                draft._core.reopen(drafts.spool)
                return draft
            draft.discard()
        return drafts.start(parents)

    # the content

    def _fill(
        self, draft: Draft, files: dict[str, SourceFile], parents: Sequence[Parent], problems: Problems
    ) -> None:
        """Change the draft's tree into the version's; files that cannot be read become problems."""
        changes = changes_since(parents, files, draft.tree, _read_before(draft))
        if changes.entries:
            draft._core.edit(changes.entries)
        new = [each[0] for each in changes.new.values()]
        self._total = (self._total[0] + len(new), self._total[1] + sum(file.size or 0 for file in new))
        self._progress.start(*self._total)
        failed: Problems = []
        self._record(draft, [file for file in new if file.stays(self._in_place)], failed)
        self._read(draft, [file for file in new if not file.stays(self._in_place)], failed)
        self._share(draft, changes, dict(failed), problems)

    def _share(self, draft: Draft, changes: Changes, failed: Mapping[str, str], problems: Problems) -> None:
        """Give all paths of a content the entry of the first one; what failed leaves none of a parent's."""
        tree, entries = draft.tree, dict[str, Entry | None]()
        for files in changes.new.values():
            first = files[0].path
            if first in failed:
                problems += [(file.path, failed[first]) for file in files]
                entries.update({file.path: None for file in files if tree.get(file.path) is not None})
            elif len(files) > 1 and (entry := tree.get(first)) is not None:
                entries.update(copies(entry, files[1:]))
        if entries:
            draft._core.edit(entries)

    def _read(self, draft: Draft, files: Sequence[SourceFile], problems: Problems) -> None:
        """Add contents to the draft; after each step what was read survives an interruption."""
        if not files:
            return
        folder = Path(tempfile.mkdtemp(prefix="import-", dir=draft._core.folder))
        try:
            batches = ready_batches(sorted(files), self._places, folder)
            while first := next(batches, None):
                done: list[Ready] = []
                how = Scan(checksum=True, default_ignore=False)
                report = draft._core.add_items(_step(chain([first], batches), done), how, self._progress)
                self.report.files += report.files
                self.report.size += report.size
                self.report.stored += report.stored
                problems += [(ready.file.path, ready.reason) for ready in done if ready.item is None]
                paths = {ready.item.source: ready.file.path for ready in done if ready.item}
                problems += [(paths.get(source, source), reason) for source, reason in how.problems]
                _note_read(draft, done)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _record(self, draft: Draft, files: Sequence[SourceFile], problems: Problems) -> None:
        """Record contents that stay where they are."""
        for place, found in self._places.outside(files, problems):
            if not self._in_place and not is_allowed(place, self._core.url):
                problems += refused(place, found)
                continue
            try:
                outside = Outside(place, self._places.store(place), found, [])
            except InvalidInput as error:
                if (error.hint or "").startswith("pip install"):  # nothing is lost yet
                    raise
                problems += [(file.path, error.message) for file in found]
                continue
            if self._in_place and allow(place, self._core.url) is not None:
                self.report.places.append(place)
            how = Scan(default_ignore=False)
            report, core = ExternalReport(), draft._core
            with core.changing():
                record_outside(core, core.edit_tree, outside, how, report, self._progress)
                core.commit()
            self.report.files += report.files
            self.report.size += report.read
            keys = {f"{place}/{file.key}": file.path for file in found}
            problems += [(keys.get(name, name), reason) for name, reason in (*report.problems, *how.problems)]


def listed(wanted: SourceVersion, problems: Problems) -> dict[str, SourceFile] | None:
    """Return the files of a version by path, None if the source cannot list them.

    Raises:
        StoreError: the source cannot be reached now.
    """
    try:
        return checked_files(wanted.files(), problems)
    except DataverError as error:
        if isinstance(error, StoreError) and error.transient:
            raise
        problems.append((wanted.key, error.message))
        return None


def refused(place: str, files: Iterable[ExternalFile]) -> Problems:
    """Return the problems of files in a place that this machine may not read."""
    reason = f"it stays at {place}, which this machine may not read; --in-place allows it"
    return [(file.path, reason) for file in files]


def _left_out(problems: Problems) -> dict[str, Any]:
    """Return the part of the metadata that lists what the version lacks."""
    if not problems:
        return {}
    named = {_bounded(path): _bounded(reason) for path, reason in problems[:_NAMED]}
    return {"left_out": len(problems), "left_out_paths": named}


def _bounded(text: str) -> str:
    return as_unicode(text)[:_SHORT]


def _step(batches: Iterator[list[Ready]], done: list[Ready]) -> Iterator[list[ScannedItem]]:
    """Yield the items of batches up to the bounds of a step, and append to `done`."""
    size = 0
    for batch in batches:
        done += batch
        items = [ready.item for ready in batch if ready.item is not None]
        yield items
        size += sum(item.stat.size for item in items)
        if size >= _STEP or len(done) >= _FILES:
            return


# what a draft has read already


def _read_before(draft: Draft) -> dict[str, str]:
    """Return names of contents that an interrupted call added to the draft, by path."""
    try:
        lines = (draft._core.folder / _READ).read_text("utf-8").splitlines()
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in lines:
        with suppress(ValueError):  # the last line may be torn
            found.update(json.loads(line))
    return found


def _note_read(draft: Draft, batch: Sequence[Ready]) -> None:
    """Record the contents of a batch that the draft holds now."""
    names = {ready.file.path: name_of(ready.file) for ready in batch if ready.item is not None}
    with (draft._core.folder / _READ).open("a", encoding="utf-8") as file:
        file.write(json.dumps(names) + "\n")
