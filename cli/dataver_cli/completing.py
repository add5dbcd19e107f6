"""Shell completion: datasets, versions and tags, and the drafts of this folder.

A key press must not block the shell. So only a repository in a local folder is read. For others the names are
those in `dataver.lock`, in the drafts of this folder and in the cache. Errors give no completions.
"""

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem

__all__ = ["complete_draft", "complete_ref"]


def complete_ref(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete `name`, and after an `@` the labels and tags of that dataset."""
    try:
        found = dict.fromkeys(each for each in _refs(ctx, incomplete) if each.startswith(incomplete))
    except Exception:  # noqa: BLE001  # no error may interrupt a key press
        return []
    return [CompletionItem(each, begin="@" not in each) for each in found]


def complete_draft(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the id of a draft."""
    from dataver_cli.session import draft_states

    try:
        states = [state for state in draft_states() if state.id.startswith(incomplete)]
    except Exception:  # noqa: BLE001  # as above
        return []
    return [CompletionItem(state.id, help=f"{state.dataset}, {state.status}") for state in states]


def _refs(ctx: click.Context, incomplete: str) -> Iterable[str]:
    from dataver.machine.configuration import configured_url
    from dataver.machine.paths import default_repository
    from dataver_cli.session import Session

    given = ctx.params.get("repo") or (ctx.parent and ctx.parent.params.get("repo"))
    url = given or configured_url() or str(default_repository())
    name, at, _ = incomplete.partition("@")
    if "://" in url:
        known = _known_here(url)
        return [each for each in known if each.startswith(f"{name}@")] if at else _datasets(known)
    repository = Session(repo=url, options={}, as_json=False, quiet=True).repository()
    if not at:
        return repository._core.records.datasets(incomplete)
    return [
        f"{name}@{each}"
        for each in [*repository._core.records.labels(name), *repository.tagged(name), "latest"]
    ]


def _datasets(refs: Iterable[str]) -> list[str]:
    return [each.partition("@")[0] for each in refs]


def _known_here(url: str) -> list[str]:
    """Return the refs that this machine knows of a remote repository, without a request."""
    from dataver.api.lockfile import LockFile
    from dataver.cache.version_cache import VersionCache
    from dataver.machine.cache_root import open_cache_root
    from dataver_cli.session import draft_states

    here = url.rstrip("/")
    refs = [ref for locked in LockFile.find() for ref in (locked.asked, locked.ref)]
    for state in draft_states():
        if state.repository.rstrip("/") == here:
            refs += [state.dataset, *(f"{each['dataset']}@{each['label']}" for each in state.parents)]
    folders = VersionCache(open_cache_root()).folders()
    refs += [each.ref for each in folders if each.repository.rstrip("/") == here]
    return sorted(dict.fromkeys(refs))
