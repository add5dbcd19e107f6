"""What a command has at hand: its repository, its draft, its output, its progress bar."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dataver_cli.memory import keep_freed_memory
from dataver_cli.output import Output, count
from dataver_cli.progress import Bar

if TYPE_CHECKING:
    from dataver import Draft, Repository
    from dataver.ingest import DraftState

__all__ = ["Session", "draft_states", "parse_pairs", "parse_size", "place"]


class Session:
    """One run of a command."""

    def __init__(self, *, repo: str | None, options: Mapping[str, str], as_json: bool, quiet: bool) -> None:
        self.out = Output(as_json=as_json, quiet=quiet)
        self.url = place(repo) if repo else None
        self.storage_options = dict(options) or None

    def repository(self) -> "Repository":
        """Open the repository: `--repo`, else `DATAVER_REPO`, the project's configuration, the user's own."""
        import dataver

        url = self.url
        if url is None and os.environ.get("DATAVER_REPO"):
            url = place(os.environ["DATAVER_REPO"])
        return dataver.open(url, storage_options=self.storage_options)

    def draft(self, wanted: str | None) -> "Draft":
        """Open a draft of this folder, the current one unless told, in the repository it was made for."""
        return self.draft_and_repository(wanted)[0]

    def draft_and_repository(self, wanted: str | None) -> "tuple[Draft, Repository]":
        """Open a draft and its repository."""
        import dataver

        state = self._draft_state(wanted)
        repository = dataver.open(self.url or state.repository, storage_options=self.storage_options)
        return repository.draft(state.id), repository

    def stream(self, draft: "Draft", *, upload: bool, spool: int | None) -> None:
        """Make a draft send what it takes, where that is asked for."""
        if not upload:
            if spool is not None:
                raise click.UsageError("--spool goes with --upload")
        elif spool is None:
            draft.stream()
        else:
            draft.stream(spool)

    def _draft_state(self, wanted: str | None) -> "DraftState":
        from dataver.errors import InvalidInput, NotFound
        from dataver.ingest import current_draft

        if wanted is None:
            _, wanted = current_draft()
        fitting = [state for state in draft_states() if state.id.startswith(wanted)]
        if not fitting:
            raise NotFound(f"there is no draft '{wanted}' here.", hint="`dataver drafts` lists them")
        if len(fitting) > 1:
            ids = ", ".join(state.id for state in fitting)
            raise InvalidInput(f"'{wanted}' fits several drafts: {ids}.", hint="write more of the id")
        return fitting[0]

    def progress(self, verb: str, thing: str = "file", fresh: str | None = None) -> Bar:
        """Return a progress bar; it shows itself only on a terminal, and only when it takes long.

        Whoever asks for one is about to move data.
        """
        keep_freed_memory()
        return Bar(verb, shown=not self.out.quiet, thing=thing, fresh=fresh)

    def finish(self, problems: Sequence[tuple[str, str]], what: str) -> None:
        """End as done in part where something was left out (invariant 10)."""
        from dataver.errors import Incomplete

        if problems:
            raise Incomplete(f"{count(len(problems), 'thing')} {what}; the rest was done.", problems=problems)


def draft_states() -> "list[DraftState]":
    """Return the drafts of the nearest workspace upwards, oldest first, without opening a repository."""
    from dataver.ingest import list_drafts
    from dataver.repository.places import find_workspace

    workspace = find_workspace()
    return list_drafts(workspace) if workspace else []


def place(url: str) -> str:
    """Return a repository's URL in a form that means the same from every folder."""
    if "://" in url or "::" in url:
        return url
    return str(Path(os.path.abspath(Path(url).expanduser())))  # noqa: PTH100  # keeps symlinks, unlike resolve


def parse_pairs(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    """Return `KEY=VALUE` options as a mapping."""
    pairs = [value.partition("=") for value in values]
    for key, equals, _ in pairs:
        if not key or not equals:
            raise click.BadParameter("write KEY=VALUE", ctx, param)
    return {key: value for key, _, value in pairs}


def parse_size(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Return bytes, written as `512M`, `2 GB` or a plain number; powers of 1024."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d+)\s*([kmgt]?)i?b?", value.strip(), re.IGNORECASE)
    if found is None:
        raise click.BadParameter("write a size such as 512M or 2G", ctx, param)
    return int(found[1]) << 10 * " kmgt".index(found[2].lower() or " ")
