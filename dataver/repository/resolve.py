"""Resolution of refs to versions.

Refs: `name`, `name@label`, `name@tag`, `name@latest`, `dv1:<prefix>`, and version objects.
"""

import contextlib
from typing import NoReturn, Protocol, TypeAlias

from dataver.errors import InvalidInput, NotFound
from dataver.formats.names import check_dataset_name, check_label
from dataver.repository.lines import latest
from dataver.repository.records import Published, Records
from dataver.repository.tags import Tags

# Imports in functions: difflib suggests names for one that does not exist.

__all__ = ["LATEST", "NamedVersion", "Ref", "ref_text", "resolve", "split_ref"]

LATEST = "latest"
_DIGEST = "dv1:"
_SHORTEST = 4  # hex characters of a digest prefix: fewer are too ambiguous


def split_ref(ref: str) -> tuple[str, str | None]:
    """Split `name@selector` into its parts; the selector is None without `@`.

    Raises:
        InvalidInput: the name or the selector is not valid.
    """
    name, at, selector = ref.partition("@")
    check_dataset_name(name)
    if at and not selector:
        raise InvalidInput(f"'{ref}' ends in @.", hint=f"write {name}@<label>, {name}@<tag> or {name}@latest")
    return name, selector or None


class NamedVersion(Protocol):
    """A version object with a name, such as `dataver.Version`."""

    @property
    def ref(self) -> str:
        """`dataset@label`."""

    @property
    def record_id(self) -> str | None:
        """The id of its record, 64 hex; None until it is published."""


Ref: TypeAlias = str | NamedVersion
"""Reference to a version: `name`, `name@label`, `name@tag`, `dv1:<prefix>`, or a version object."""


def ref_text(ref: Ref) -> str:
    """Return the text of a reference."""
    return ref if isinstance(ref, str) else ref.ref


def resolve(records: Records, tags: Tags, ref: Ref, where: str) -> Published:
    """Return the version that `ref` refers to.

    Args:
        records: the published records.
        tags: the movable names.
        ref: a text, or a version object.
        where: the repository's URL, for messages.

    Raises:
        InvalidInput: `ref` is not valid, a digest prefix is ambiguous, or a version is not published.
        NotFound: no such version, or another one than the object; the hint lists similar names.
    """
    if not isinstance(ref, str):
        return (
            _same(resolve(records, tags, ref.ref, where), ref, where) if ref.record_id else _refuse_local(ref)
        )
    if ref.startswith(_DIGEST):
        return _by_digest(records, ref, where)
    name, selector = split_ref(ref)
    if selector is not None and selector != LATEST:
        found = _by_name(records, tags, name, selector)
        if found is not None:
            return found
    labels = records.listed(name)
    if not labels:
        _refuse_renamed(records, name, selector)
        _refuse_deleted(records, name, selector)
        raise NotFound(
            f"there is no dataset '{name}' in {where}.", hint=_near(name, list(records.datasets()))
        )
    if selector is None or selector == LATEST:
        return latest(records, name, labels)
    _refuse_deleted(records, name, selector)
    tags.version(name, selector)  # raises an error if the tag points to a missing version
    known = [*labels, *tags.current(name)]
    raise NotFound(f"{name} has no version or tag '{selector}' in {where}.", hint=_near(selector, known))


def _by_name(records: Records, tags: Tags, name: str, selector: str) -> Published | None:
    """Return the version that a label, else a tag, names."""
    try:
        check_label(selector)
    except InvalidInput:
        return None
    for find in (records.find, tags.version):
        with contextlib.suppress(NotFound):
            return find(name, selector)
    return None


def _same(found: Published, given: NamedVersion, where: str) -> Published:
    if found.record_id != given.record_id:
        raise NotFound(
            f"{given.ref} in {where} is not the version that was passed.",
            hint="use a version of the same repository",
        )
    return found


def _refuse_local(given: NamedVersion) -> NoReturn:
    raise InvalidInput(f"{given.ref} is not published.", hint="upload it first")


def _refuse_renamed(records: Records, name: str, selector: str | None) -> None:
    """Raise an error for a reference to the old name of a dataset, with its new name."""
    gone = records.renamed(name)
    if gone is not None:
        at = "" if selector is None else f"@{selector}"
        raise NotFound(
            f"the dataset '{name}' was renamed to '{gone.renamed}' on {gone.deleted:%Y-%m-%d} "
            f"by {gone.author}.",
            hint=f"write {gone.renamed}{at}",
        )


def _refuse_deleted(records: Records, name: str, selector: str | None) -> None:
    """Raise an error for a deleted version, with author and time of the deletion."""
    if selector is None or selector == LATEST:
        return
    try:
        check_label(selector)
    except InvalidInput:
        return
    gone = records.tombstone(name, selector)
    if gone is not None:
        why = f": {gone.reason}" if gone.reason else ""
        raise NotFound(
            f"{gone.ref} was deleted on {gone.deleted:%Y-%m-%d} by {gone.author}{why}.",
            hint=f"list the others with `dataver list {name}`; see `dataver lineage version {gone.ref}`",
        )


def _by_digest(records: Records, ref: str, where: str) -> Published:
    prefix = ref.removeprefix(_DIGEST).lower()
    if not _SHORTEST <= len(prefix) <= 64 or set(prefix) - set("0123456789abcdef"):
        raise InvalidInput(
            f"'{ref}' is not a digest: dv1: and {_SHORTEST} to 64 hexadecimal characters.",
            hint="`dataver list NAME` prints the digests",
        )
    everything = records.there(records.everything())
    found = [each for each in everything if each.record.tree.hex().startswith(prefix)]
    contents = {each.record.tree for each in found}
    if not found:
        raise NotFound(
            f"no version in {where} has a digest that starts with {ref}.", hint="see `dataver list`"
        )
    if len(contents) > 1:
        names = ", ".join(
            f"{each.ref} (dv1:{each.record.tree.hex()[: len(prefix) + 8]})" for each in found[:5]
        )
        raise InvalidInput(f"{ref} is ambiguous: it matches {names}.", hint="write more of the digest")
    return max(found, key=lambda each: (each.record.created, each.ref))


def _near(word: str, known: list[str]) -> str:
    if not known:
        return "the repository is empty; create a dataset with `dataver create NAME`"
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    shown = ", ".join(known[-8:])
    return f"existing: {shown}" + (f" and {len(known) - 8} more" if len(known) > 8 else "")
