"""Files of a ClearML dataset: lists, comparisons with other versions, local copies, verification."""

import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import dataver
from dataver.compat.clearml.entries import FileEntry, LinkEntry, matches
from dataver.compat.clearml.facts import META, DatasetFacts
from dataver.errors import InvalidInput, NotFound
from dataver.formats.entry import Entry, Kind, is_external
from dataver.formats.record import ParentRef

__all__ = ["DatasetContents"]

_CHUNK: Final = 512 << 20  # ClearML's default size of a zip file: the unit of `get_num_chunks`


class DatasetContents(DatasetFacts):
    """The reading methods of `Dataset`."""

    @property
    def file_entries_dict(self) -> Mapping[str, FileEntry]:
        """Its files by path, without external ones."""
        return {each.relative_path or "": each for each in self.file_entries}

    @property
    def link_entries_dict(self) -> Mapping[str, LinkEntry]:
        """Its external files by path."""
        return {each.relative_path or "": each for each in self.link_entries}

    @property
    def file_entries(self) -> list[FileEntry]:
        """Its files, without external ones."""
        owners = self._owners()
        return [
            FileEntry(each.path, each.digest.hex(), owners[each.path], each.size)
            for each in self._entries()
            if not _external(each)
        ]

    @property
    def link_entries(self) -> list[LinkEntry]:
        """Its external files."""
        owners = self._owners()
        return [
            LinkEntry(self._link(each), each.path, owners[each.path], each.size, each.digest.hex())
            for each in self._entries()
            if _external(each)
        ]

    def list_files(
        self, dataset_path: str | None = None, recursive: bool = True, dataset_id: str | None = None
    ) -> list[str]:
        """Return the paths of its files, sorted.

        Args:
            dataset_path: a wildcard, or a folder.
            recursive: whether the wildcard matches in all folders below.
            dataset_id: only files unchanged since that version, which introduced them.
        """
        owners = self._owners() if dataset_id else {}
        return [
            each.path
            for each in self._entries()
            if owners.get(each.path) == dataset_id and matches(each.path, dataset_path, recursive=recursive)
        ]

    def list_added_files(self, dataset_id: str | None = None) -> list[str]:
        """Return the paths that its parents, or another version, do not have."""
        return sorted(self._contents().keys() - self._compared(dataset_id).keys())

    def list_removed_files(self, dataset_id: str | None = None) -> list[str]:
        """Return the paths that only its parents, or another version, have."""
        return sorted(self._compared(dataset_id).keys() - self._contents().keys())

    def list_modified_files(self, dataset_id: str | None = None) -> list[str]:
        """Return the paths with other bytes than in its parents, or in another version."""
        theirs = self._compared(dataset_id)
        return sorted(path for path, own in self._contents().items() if theirs.get(path, own) != own)

    def get_dependency_graph(self) -> dict[str, list[str]]:
        """Return the ids of the parents of it and of each version before it, by id."""
        return {each.id: [above.id for above in each._parents()] for each in (self, *self._ancestors())}

    def get_num_chunks(self, include_parents: bool = True) -> int:
        """Return the number of 512 MB parts in it, or without `include_parents` in what it adds."""
        own = None if include_parents else self._owners()
        size = sum(each.size for each in self._entries() if own is None or own[each.path] == self.id)
        return max(1, math.ceil(size / _CHUNK))

    def get_local_copy(
        self,
        use_soft_links: bool | None = None,
        part: int | None = None,
        num_parts: int | None = None,
        raise_on_error: bool = True,
        max_workers: int | None = None,
        files: list[str] | None = None,
    ) -> str:
        """Fetch it, or a part or some files, and return the folder in the cache, which is read-only.

        Every byte is verified, and the read is linked to the current run. Parts have about equal bytes.

        Raises:
            InvalidInput: it is not finalized.
            PathNotFound: it has not one of `files`.
        """
        version, shard = self._final("get a local copy of"), self._shard(part, num_parts)
        return str(version.fetch(include=files or None, exclude=self._meta(), shard=shard).path)

    def get_mutable_local_copy(
        self,
        target_folder: str | Path,
        overwrite: bool = False,
        part: int | None = None,
        num_parts: int | None = None,
        raise_on_error: bool = True,
        max_workers: int | None = None,
    ) -> str | None:
        """Fetch it, or a part, to a folder and return the folder; arguments as for `get_local_copy`.

        Args:
            target_folder: the folder; with `overwrite` its contents are deleted first.
            overwrite: allow a folder that contains files.
            part: number of the part, from 0.
            num_parts: number of parts.
            raise_on_error: raise an error for a folder that contains files; else return None.
            max_workers: has no effect.

        Raises:
            InvalidInput: it is not finalized, or the folder contains files.
        """
        version, target = self._final("get a local copy of"), Path(target_folder).absolute()
        if target.is_dir() and any(target.iterdir()):
            if not overwrite and not raise_on_error:
                return None
            if not overwrite:
                raise InvalidInput(f"the folder {target} contains files.", hint="overwrite=True deletes them")
            shutil.rmtree(target)
        version.fetch(dest=target, exclude=self._meta(), shard=self._shard(part, num_parts))
        return str(target)

    def verify_dataset_hash(
        self, local_copy_path: str | None = None, skip_hash: bool = False, verbose: bool = False
    ) -> list[str]:
        """Return the files that are missing in a folder or have other bytes there.

        Args:
            local_copy_path: the folder; None fetches it.
            skip_hash: compare sizes only.
            verbose: has no effect.

        Raises:
            InvalidInput: it is not finalized.
        """
        version, folder = self._final("verify"), Path(local_copy_path or self.get_local_copy())
        if skip_hash:
            sizes = {each.path: each.size for each in self._entries() if each.kind != Kind.SYMLINK}
            return [path for path, size in sizes.items() if _size(folder / path) != size]
        found = self._repository.verify_folder(version.ref, folder, exclude=self._meta()).findings
        return sorted({path for path, _ in found} & self._contents().keys())

    # inside

    def _read(self, path: str) -> bytes:
        if self._version:
            return self._version.read(path)
        with self._of_draft("the files of").open(path) as file:
            return file.read()

    def _write(self, path: str, suffix: str, data: bytes) -> None:
        draft = self._of_draft("the metadata of")
        for old in list(draft.tree.paths(path + ".")):
            draft.remove(old)
        with draft.open(path + suffix, "wb") as file:
            file.write(data)

    def _entries(self) -> Iterator[Entry]:
        """Yield the entries of its files, in path order."""
        for entry in self._held.tree.iterate():
            if entry.kind != Kind.DIRECTORY and not entry.path.startswith(META + "/"):
                yield entry

    def _contents(self) -> dict[str, bytes]:
        """Return what names the content of each file, by path."""
        return {entry.path: entry.digest or entry.target.encode() for entry in self._entries()}

    def _compared(self, dataset_id: str | None) -> dict[str, bytes]:
        others = [self._by_id(dataset_id)] if dataset_id not in (None, "", self.id) else self._parents()
        return {path: content for other in others for path, content in other._contents().items()}

    def _owners(self) -> dict[str, str]:
        """Return the id of the version in which each file got its bytes, by path."""
        own = self._contents()
        owners = dict.fromkeys(own, self.id)
        for each in self._ancestors():
            same = (path for path, content in each._contents().items() if own.get(path) == content)
            owners.update(dict.fromkeys(same, each.id))
        return owners

    def _parents(self) -> list[Self]:
        """Return its parents that still exist, in the order given."""
        core, found = self._repository._core, []
        given = self._draft._core.state.parents if self._draft else ()
        for parent in self._version.parents if self._version else [ParentRef(**each) for each in given]:
            with suppress(NotFound):
                version = dataver.Version.of(core, core.records.get(parent.dataset, parent.label))
                found.append(type(self)(self._repository, version))
        return found

    def _ancestors(self) -> list[Self]:
        """Return its parents, then their parents, and so on, each once."""
        waiting = self._parents()
        known = {each.id for each in waiting}
        for each in waiting:
            new = [above for above in each._parents() if above.id not in known]
            known |= {above.id for above in new}
            waiting += new
        return waiting

    def _link(self, entry: Entry) -> str:
        extent = entry.extents[0]
        externals = self._repository._core.packs.externals
        load = self._draft._core.external_pack if self._draft else externals.load
        pack = load(extent.pack)
        return pack.uri(next(pack.runs(*pack.frames_of(extent))).source)

    def _meta(self) -> tuple[str, ...]:
        return (META,) if self._held.tree.is_folder(META) else ()

    def _shard(self, part: int | None, num_parts: int | None) -> tuple[int, int] | None:
        return None if part is None else (part, num_parts or self.get_num_chunks())


def _external(entry: Entry) -> bool:
    return bool(entry.extents) and is_external(entry.extents[0].pack)


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None
