"""The program `git` on a repository of this machine, or on a temporary clone.

The idea: the repository may be hostile, so only commands are used that run no hook, filter, pager or program
for signatures, and nothing is fetched into a repository of this machine.
"""

import os
import re
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from dataver.errors import InvalidInput, StoreError
from dataver.portions import portions

__all__ = ["GitProgram", "without_login"]

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|[^/:]{2,}:(?!/)")
_OFF: Final = ("core.fsmonitor=false", f"core.hooksPath={os.devnull}", "protocol.ext.allow=never")
_PLACES: Final = re.compile(r"GIT_(DIR|WORK_TREE|COMMON_DIR|INDEX_FILE|NAMESPACE|OBJECT_\w+|ALTERNATE_\w+)")
_NO_PROTOCOL: Final = {"GIT_ALLOW_PROTOCOL": "none"}
_ALWAYS: Final = {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_REPLACE_OBJECTS": "1", "LC_ALL": "C", **_NO_PROTOCOL}
_AT_ONCE: Final = 64 << 20  # bytes in memory


class GitProgram:
    """Commands of git in one repository; not for several threads.

    Args:
        where: a folder, or a URL, which is cloned.
        largest: with a URL, leave out files of this size or larger, such as "1k"; they are missing then.

    Attributes:
        location: the folder or URL, without a password.
        url: the URL as it was given; "" for a folder.
        home: the folder of the working copy; None for a bare repository or a clone.
        prefix: the part of the working copy that was named, ending in "/"; "" for all of it.
        common: the folder of the repository itself.

    Raises:
        InvalidInput: it is no repository, or git is not installed.
        StoreError: the repository cannot be read or cloned.
    """

    def __init__(self, where: str, largest: str | None = None) -> None:
        self.url = ""
        self.home: Path | None = None
        self.prefix = ""
        kept = {name: value for name, value in os.environ.items() if not _PLACES.fullmatch(name)}
        self._variables = kept | _ALWAYS
        self._folder = Path(where)
        if self._folder.is_dir():
            self.location = str(self._folder.resolve())
            inside, common = self.lines("rev-parse", "--is-inside-work-tree", "--git-common-dir")
            self.common = (self._folder / common).resolve()
            if inside == "true":
                top, *prefix = self.lines("rev-parse", "--show-toplevel", "--show-prefix")
                self.home, self.prefix = Path(top), "".join(prefix)
                self._folder = self.home  # patterns of paths are relative to it
        elif _URL.match(where):
            self.url, self.location = where, without_login(where)
            self._clone(largest)
        else:
            raise InvalidInput(f"there is no folder {where}.", hint="name a git repository or its URL")

    @property
    def name(self) -> str:
        """The last part of the path or URL."""
        last = re.split(r"[/:]", str(self.home or self.location).rstrip("/").removesuffix("/.git"))[-1]
        return last.removesuffix(".git")

    def lines(self, *words: str) -> list[str]:
        """Return the lines that a command prints."""
        return self.run(*words).decode("utf-8", "surrogateescape").splitlines()

    def setting(self, name: str, text: Iterable[str] = ()) -> str:
        """Return a setting of git, or of a configuration file with these lines; "" if it is not set."""
        where = ("--file", "-") if (text := list(text)) else ()
        try:
            return self.run("config", *where, "--get", name, lines=text).decode("utf-8", "replace").strip()
        except StoreError:
            return ""

    def login(self, url: str) -> list[str]:
        """Return the user and password that git has for a URL; empty if there are none.

        No helper that the repository names is asked.
        """
        parts = urlsplit(url)
        if parts.password is not None:
            return [unquote(parts.username or ""), unquote(parts.password)]
        asked = (f"protocol={parts.scheme}", f"host={parts.netloc.rpartition('@')[2]}", "")
        try:
            said = self.run("credential", "fill", lines=asked, folder=Path("/")).decode("utf-8", "replace")
        except StoreError:
            return []
        found = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
        return [found.get("username", ""), found.get("password", "")]

    def run(self, *words: str, lines: Iterable[str] = (), folder: Path | None = None) -> bytes:
        """Run a command and return what it prints.

        Args:
            words: the command and its arguments.
            lines: its input.
            folder: where it runs; the repository by default.

        Raises:
            InvalidInput: there is no repository.
            StoreError: it failed.
        """
        given = "".join(f"{line}\n" for line in lines).encode()
        command = ["git", *(word for each in _OFF for word in ("-c", each)), *words]
        try:
            done = subprocess.run(  # noqa: S603  # no shell, and no option comes from a repository
                command,
                cwd=folder or self._folder,
                env=self._variables,
                input=given,
                capture_output=True,
                check=False,
            )
        except OSError as error:
            raise InvalidInput(
                f"git, which reads {self.location}, cannot be run: {error.strerror}.", hint="install git"
            ) from error
        if done.returncode:
            raise self._failure(done.stderr.decode("utf-8", "replace").strip())
        return done.stdout

    def read(self, oids: Iterable[str], most: int) -> Iterator[tuple[str, bytes]]:
        """Yield the names of objects with their bytes; those that are missing or too long are left out.

        Args:
            oids: names; also "COMMIT:PATH".
            most: bytes of the longest file.
        """
        oids = list(oids)
        lines = self.run("cat-file", "--batch-check=%(objecttype) %(objectsize)", lines=oids).splitlines()
        sizes = [(oid, int(line[5:])) for oid, line in zip(oids, lines, strict=True) if line[:5] == b"blob "]
        wanted = [(oid, size) for oid, size in sizes if size <= most]
        for some in portions(wanted, _AT_ONCE, lambda each: each[1]):
            data, at = self.run("cat-file", "--batch", lines=(oid for oid, _ in some)), 0
            for oid, size in some:
                at = data.index(b"\n", at) + 1
                yield oid, data[at : at + size]
                at += size + 1

    def _clone(self, largest: str | None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="dataver-git-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._variables["GIT_ALLOW_PROTOCOL"] = "file:git:http:https:ssh"
        self.run(
            "clone", "--quiet", "--bare", f"--filter=blob:limit={largest or '1m'}", "--", self.url, "clone"
        )
        self._folder = self.common = self._folder / "clone"
        if largest:  # what was left out is missing, and is not fetched one by one
            self.run("config", "--remove-section", "remote.origin")
            self._variables |= _NO_PROTOCOL

    def _failure(self, said: str) -> InvalidInput | StoreError:
        reason = said.splitlines()[-1] if said else "no reason was given"
        if "not a git repository" in said:
            return InvalidInput(
                f"{self.location} is no git repository.", hint="name a git repository or its URL"
            )
        if "dubious ownership" in said:
            return StoreError(
                f"git does not read {self.location}, which belongs to another user.",
                hint=f"if you trust it: git config --global --add safe.directory {self.location}",
            )
        return StoreError(f"git cannot read {self.location}: {reason.removeprefix('fatal: ').rstrip('.')}.")


def without_login(url: str) -> str:
    """Return a URL without a user's name and password."""
    parts = urlsplit(url) if "://" in url else None
    return url if parts is None else parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
