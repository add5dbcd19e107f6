"""Shell completion: datasets, versions and tags of a local repository, and the drafts of this folder.

A key press must not block the shell. So remote repositories are not queried, and errors give no completions.
"""

import click
from click.shell_completion import CompletionItem

__all__ = ["complete_draft", "complete_ref"]


def complete_ref(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete `name`, and after an `@` the labels and tags of that dataset."""
    try:
        return [CompletionItem(each) for each in _refs(ctx, incomplete) if each.startswith(incomplete)]
    except Exception:  # noqa: BLE001  # no error may interrupt a key press
        return []


def complete_draft(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the id of a draft."""
    from dataver_cli.session import draft_states

    try:
        states = [state for state in draft_states() if state.id.startswith(incomplete)]
    except Exception:  # noqa: BLE001  # as above
        return []
    return [CompletionItem(state.id, help=f"{state.dataset}, {state.status}") for state in states]


def _refs(ctx: click.Context, incomplete: str) -> list[str]:
    from dataver.machine.configuration import configured_url
    from dataver.machine.paths import default_repository
    from dataver_cli.session import Session

    given = ctx.params.get("repo")
    url = given or configured_url() or str(default_repository())
    if "://" in url:
        return []
    repository = Session(repo=url, options={}, as_json=False, quiet=True).repository()
    name, at, _ = incomplete.partition("@")
    if not at:
        return list(repository._core.records.datasets(incomplete))
    return [
        f"{name}@{each}"
        for each in [*repository._core.records.labels(name), *repository.tagged(name), "latest"]
    ]
