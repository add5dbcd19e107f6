"""The context of a command: its repository, draft, output and progress bar."""

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dataver.log import info
from dataver.progress import Bar
from dataver_cli.memory import keep_freed_memory
from dataver_cli.output import Output, count

if TYPE_CHECKING:
    from datetime import datetime

    from dataver import Draft, Repository, Version
    from dataver.errors import DataverError
    from dataver.ingest import DraftState

__all__ = [
    "Session",
    "damaged_drafts",
    "draft_place",
    "draft_states",
    "parse_pairs",
    "parse_size",
    "parse_time",
    "place",
]


class Session:
    """One run of a command."""

    def __init__(
        self,
        *,
        repo: str | None,
        options: Mapping[str, str],
        as_json: bool,
        quiet: bool,
        verbose: bool = False,
    ) -> None:
        self.out = Output(as_json=as_json, quiet=quiet)
        self._bars = not quiet and not verbose
        self.url = place(repo) if repo else None
        self.storage_options = dict(options) or None

    def repository(self) -> "Repository":
        """Open the repository: `--repo`, else `DATAVER_REPO`, the project's configuration, the user's own."""
        import dataver

        url = self.url
        if url is None and os.environ.get("DATAVER_REPO"):
            url = place(os.environ["DATAVER_REPO"])
        own = _own_repository_to_be() if url is None else None
        repository = dataver.open(url, storage_options=self.storage_options)
        source = "--repo" if self.url else "the environment" if url else "the configuration"
        info("the repository is %s, from %s", repository.url, source)
        if own is not None:
            self.out.note(
                f"No repository is configured: created your own, {own}; `dataver init URL` selects another."
            )
        return repository

    def draft(self, wanted: str | None) -> "Draft":
        """Open a draft of this folder, by default the current one, in its own repository."""
        return self.draft_and_repository(wanted)[0]

    def draft_and_repository(self, wanted: str | None) -> "tuple[Draft, Repository]":
        """Open a draft and its repository."""
        state = self.draft_state(wanted)
        repository = self._repository_of(state)
        return repository.draft(state.id), repository

    def draft_state(self, wanted: str | None) -> "DraftState":
        """Read the state of a draft of this folder, by default the current one."""
        from dataver.ingest import load_state
        from dataver.ingest.draft_state import draft_folder

        return load_state(draft_folder(*draft_place(wanted)))

    def _repository_of(self, state: "DraftState") -> "Repository":
        """Open the repository of a draft: its original location or, if that was moved, the configured one."""
        import dataver
        from dataver.errors import DataverError, NotFound, StoreError
        from dataver.machine.configuration import configured_url

        if self.url:
            return dataver.open(self.url, storage_options=self.storage_options)
        problem: DataverError
        try:
            found = dataver.open(state.repository, storage_options=self.storage_options)
            if found.id == state.repository_id:
                info("the repository is %s, from draft %s", found.url, state.id)
                return found
            problem = NotFound(f"{state.repository} now contains another repository.")
        except (NotFound, StoreError) as error:
            problem = error
        with suppress(DataverError):
            if configured_url() is not None:
                found = self.repository()
                if found.id == state.repository_id:
                    return found
        problem.hint = (
            f"draft {state.id} was begun there; if the repository was moved, give its URL with --repo, "
            "DATAVER_REPO or `dataver config set repository.url`"
        )
        raise problem

    def stream(self, draft: "Draft", *, upload: bool, spool: int | None) -> None:
        """Enable streaming of a draft if `upload` is set."""
        if not upload:
            if spool is not None:
                raise click.UsageError("--spool needs --upload")
        elif spool is None:
            draft.stream()
        else:
            draft.stream(spool)

    def progress(self, verb: str, thing: str = "file", fresh: str | None = None) -> Bar:
        """Return a progress bar, which is drawn only on a terminal and only for long operations.

        Also keep freed memory, because such an operation transfers data.
        """
        keep_freed_memory()
        return Bar(verb, thing=thing, fresh=fresh, shown=self._bars, command=True)

    def check_tags(self, repository: "Repository", dataset: str, tags: Sequence[str]) -> None:
        """Raise an error if a tag is protected, so that the version that would get it is not published."""
        for tag in tags:
            repository._core.tags.refuse_protected(dataset, tag)

    def tag(self, repository: "Repository", version: "Version", tags: Sequence[str]) -> list[str]:
        """Move tags to a new version; return notes on tags that point to a later version and stay."""
        notes = []
        for tag in tags:
            target = repository.tag(version.ref, tag, forward=True)
            if target.label != version.label:
                notes.append(
                    f"{version.dataset}@{tag} stays at {target.ref}, which was made from {version.ref}."
                )
        return notes

    def finish(self, problems: Sequence[tuple[str, str]], what: str, noun: str = "item") -> None:
        """Raise `Incomplete` if there were problems (invariant 10)."""
        from dataver.errors import Incomplete

        if problems:
            raise Incomplete(f"{count(len(problems), noun)} {what}; the rest was done.", problems=problems)


def _own_repository_to_be() -> Path | None:
    """Return the path of the user's own repository if opening it now would create it."""
    from dataver.machine.configuration import configured_url
    from dataver.machine.paths import default_repository

    own = default_repository()
    return own if configured_url() is None and not own.exists() else None


def draft_place(wanted: str | None) -> "tuple[Path, str]":
    """Return the workspace and the id of a draft of this folder, by default the current one."""
    from dataver.ingest import current_draft, find_draft
    from dataver.machine.paths import find_workspace

    if wanted is None:
        return current_draft()
    workspace = find_workspace() or Path.cwd()
    return workspace, find_draft(workspace, wanted)


def draft_states() -> "list[DraftState]":
    """Return the drafts of the nearest workspace in or above this folder, oldest first."""
    from dataver.ingest import list_drafts
    from dataver.machine.paths import find_workspace

    workspace = find_workspace()
    return list_drafts(workspace) if workspace else []


def damaged_drafts() -> "dict[str, DataverError]":
    """Return the unreadable drafts of the nearest workspace in or above this folder, with their errors."""
    from dataver.ingest import list_damaged
    from dataver.machine.paths import find_workspace

    workspace = find_workspace()
    return dict(list_damaged(workspace)) if workspace else {}


def place(url: str) -> str:
    """Return a repository's URL in a form that does not depend on the current folder.

    Raises:
        InvalidInput: it is a mistyped URL.
    """
    from dataver.storage.url import check_spelling
    from dataver.user import expand_user

    check_spelling(url)
    if "://" in url or "::" in url:
        return url
    return str(Path(os.path.abspath(expand_user(url))))  # noqa: PTH100  # keeps symlinks, unlike resolve


def parse_pairs(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    """Return `KEY=VALUE` options as a mapping."""
    pairs = [value.partition("=") for value in values]
    for key, equals, _ in pairs:
        if not key or not equals:
            raise click.BadParameter("not of the form KEY=VALUE", ctx, param)
    return {key: value for key, _, value in pairs}


def parse_time(ctx: click.Context, param: click.Parameter, value: str | None) -> "datetime | None":
    """Return the moment of a date, a time or an age such as `30d`; UTC unless it has an offset."""
    if value is None:
        return None
    from datetime import UTC, datetime

    from dataver.errors import InvalidInput
    from dataver.machine.store_clock import parse_period

    try:
        return datetime.now(UTC) - parse_period(value)
    except (InvalidInput, OverflowError):
        pass
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise click.BadParameter(
            "not a time such as 2026-11-21 or 2026-11-21T08:00, or an age such as 30d", ctx, param
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def parse_size(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Return the bytes of a size such as `512M`, `2 GB` or a plain number; units are powers of 1024."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d+)\s*([kmgt]?)i?b?", value.strip(), re.IGNORECASE)
    if found is None:
        raise click.BadParameter("not a size such as 512M or 2G", ctx, param)
    return int(found[1]) << 10 * " kmgt".index(found[2].lower() or " ")
