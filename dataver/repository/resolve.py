"""From what a person types to one version.

References: `name`, `name@label`, `name@tag`, `name@latest`, `dv1:<prefix>`.
"""

from dataver.errors import InvalidInput, NotFound
from dataver.formats.names import check_dataset_name, check_label, parse_semver
from dataver.repository.records import Published, Records
from dataver.repository.tags import Tags

__all__ = ["LATEST", "latest", "resolve", "split_ref"]

LATEST = "latest"
_DIGEST = "dv1:"
_SHORTEST = 4  # hex characters of a digest prefix: fewer says too little


def split_ref(ref: str) -> tuple[str, str | None]:
    """Split `name@selector` into its parts; the selector is None when there is no `@`.

    Raises:
        InvalidInput: the name or the selector cannot be one.
    """
    name, at, selector = ref.partition("@")
    check_dataset_name(name)
    if at and not selector:
        raise InvalidInput(f"'{ref}' ends in @.", hint=f"write {name}@<label>, {name}@<tag> or {name}@latest")
    return name, selector or None


def latest(records: Records, dataset: str, labels: list[str]) -> str:
    """Return the label that `dataset@latest` means: the highest semantic one, else the youngest."""
    numbered = [(key, label) for label in labels if (key := parse_semver(label)) is not None]
    if numbered:
        return max(numbered)[1]
    return records.versions(dataset)[-1].record.label


def resolve(records: Records, tags: Tags, ref: str, where: str) -> Published:
    """Return the version that `ref` names.

    Args:
        records: what is published.
        tags: the movable names.
        ref: what a person typed.
        where: the repository's URL, for messages.

    Raises:
        InvalidInput: `ref` is no reference, or a digest prefix fits several contents.
        NotFound: nothing by that name; the hint lists what comes near.
    """
    if ref.startswith(_DIGEST):
        return _by_digest(records, ref, where)
    name, selector = split_ref(ref)
    labels = records.labels(name)
    if not labels:
        _refuse_deleted(records, name, selector)
        raise NotFound(
            f"there is no dataset '{name}' in {where}.", hint=_near(name, list(records.datasets()))
        )
    if selector is None or selector == LATEST:
        return records.get(name, latest(records, name, labels))
    if selector in labels:
        return records.get(name, selector)
    found = tags.version(name, selector)
    if found is None:
        _refuse_deleted(records, name, selector)
        known = [*labels, *tags.current(name)]
        raise NotFound(f"{name} has no version or tag '{selector}' in {where}.", hint=_near(selector, known))
    return found


def _refuse_deleted(records: Records, name: str, selector: str | None) -> None:
    """Say of a version that is no more who deleted it, and when."""
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
            hint=f"`dataver list {name}` lists the others; `dataver lineage version {gone.ref}` tells of it",
        )


def _by_digest(records: Records, ref: str, where: str) -> Published:
    prefix = ref.removeprefix(_DIGEST).lower()
    if not _SHORTEST <= len(prefix) <= 64 or set(prefix) - set("0123456789abcdef"):
        raise InvalidInput(
            f"'{ref}' is no digest: after dv1: come {_SHORTEST} to 64 hexadecimal characters.",
            hint="`dataver list NAME` prints the digests",
        )
    refs = ((name, label) for name, labels in records.datasets().items() for label in labels)
    found = [each for each in records.many(refs) if each.record.tree.hex().startswith(prefix)]
    contents = {each.record.tree for each in found}
    if not found:
        raise NotFound(
            f"no version in {where} has a digest that starts with {ref}.", hint="see `dataver list`"
        )
    if len(contents) > 1:
        names = ", ".join(
            f"{each.ref} (dv1:{each.record.tree.hex()[: len(prefix) + 8]})" for each in found[:5]
        )
        raise InvalidInput(f"{ref} is ambiguous: it fits {names}.", hint="write more of the digest")
    return max(found, key=lambda each: (each.record.created, each.ref))


def _near(word: str, known: list[str]) -> str:
    if not known:
        return "the repository is empty; `dataver create NAME` starts a dataset"
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    shown = ", ".join(known[-8:])
    return f"there is {shown}" + (f" and {len(known) - 8} more" if len(known) > 8 else "")
