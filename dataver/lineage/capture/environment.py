"""The code and the machine: command line, user, host, Python; git commit and uncommitted diff; packages.

`at_once` delays a fetch, so it only makes a few system calls and reads small files; it reads the commit,
which must be that of the start. `arguments`, `git_facts` and `packages` compile patterns, start git and read
folders, and run on a background thread. Nothing raises; unknown facts are omitted. Everything is redacted.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from threading import Timer
from typing import Any, Final

from dataver.lineage.settings import setting

# Imports in functions: facts are collected by the thread that sends them, after the first read.

__all__ = [
    "MAX_DIFF",
    "arguments",
    "at_once",
    "code_folder",
    "git_facts",
    "head",
    "later",
    "notebook",
    "packages",
]

MAX_DIFF: Final = 4 << 20  # bytes of an uncommitted diff; a longer one is omitted, with a reason
_GIT_SECONDS: Final = 20.0
_ARGUMENTS: Final = 200
_ARGUMENT: Final = 1_000  # characters
_OWN_PROGRAMS: Final = ("/bin/dataver", "/dataver_cli/__main__.py")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def at_once(folder: Path | None = None) -> dict[str, Any]:
    """Return the facts that are fast to read: `host`, `user`, `python`, `platform`, `git` with the commit.

    Args:
        folder: the folder of the code; None means `code_folder()`.
    """
    machine = os.uname()
    facts: dict[str, Any] = {
        "host": machine.nodename,
        "platform": f"{machine.sysname}-{machine.release}-{machine.machine}",
        "python": ".".join(map(str, sys.version_info[:3])),
    }
    user = _user()
    if user:
        facts["user"] = user
    folder = folder or code_folder()
    commit = head(folder) if folder else None
    if commit:
        facts["git"] = {"commit": commit}
    return facts


def later(known: dict[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the slow facts: command line, git and packages; and the attachments that they refer to.

    Args:
        known: the result of `at_once`.
    """
    from dataver.formats.bundle import attachment_digest

    facts: dict[str, Any] = {"argv": arguments()}
    attachments: dict[str, bytes] = {}
    folder = code_folder()
    if folder is not None:
        git, diff = git_facts(folder, known.get("git", {}).get("commit"))
        if diff is not None:
            git["diff"] = attachment_digest(diff)
            attachments[git["diff"]] = diff
        facts |= {"git": git} if git else {}
    listed = packages()
    facts["packages"] = attachment_digest(listed)
    attachments[facts["packages"]] = listed
    return facts, attachments


def code_folder(*, script: bool = True) -> Path | None:
    """Return a folder in the git work tree of the code: the main script's, else the current one."""
    main = getattr(sys.modules.get("__main__"), "__file__", None) if script else None
    if main and main.endswith(_OWN_PROGRAMS):  # not the code of the run
        main = None
    places = [os.path.dirname(os.path.abspath(main))] if main else []  # noqa: PTH100, PTH120  # quick
    try:
        places.append(os.getcwd())  # noqa: PTH109
    except OSError:
        pass  # the folder was deleted
    for place in places:
        if _git_folder(place):
            return Path(place)
    return None


def head(folder: Path) -> str | None:
    """Return the commit that is checked out, read from git's own files; None if it is not found there."""
    git = _git_folder(str(folder))
    if git is None:
        return None
    try:
        text = _read(f"{git}/HEAD")
        if not text.startswith("ref: "):
            return text if _COMMIT.fullmatch(text) else None
        name = text.removeprefix("ref: ")
        common = _read(f"{git}/commondir") if os.path.exists(f"{git}/commondir") else "."  # noqa: PTH110
        for base in dict.fromkeys((git, os.path.join(git, common))):  # noqa: PTH118
            if os.path.isfile(f"{base}/{name}"):  # noqa: PTH113
                found = _read(f"{base}/{name}")
                return found if _COMMIT.fullmatch(found) else None
            if os.path.isfile(f"{base}/packed-refs"):  # noqa: PTH113
                for line in _read(f"{base}/packed-refs").splitlines():
                    if line.endswith(f" {name}"):
                        return line.partition(" ")[0]
    except (OSError, ValueError):
        pass  # `git_facts` runs git later
    return None


def git_facts(folder: Path, commit: str | None) -> tuple[dict[str, Any], bytes | None]:
    """Run git to capture its facts; takes 10 to 50 ms, more in a large work tree.

    Args:
        folder: a folder inside the work tree.
        commit: the commit at the start; None means the current one.

    Returns:
        `commit`, `branch`, `remote`, `dirty`, as far as known; and the redacted uncommitted diff, or None if
        there is none, or if it is disabled or too long (`diff_left_out` has the reason).
    """
    from dataver.lineage.capture.redact import redact, redact_diff, redact_url

    facts: dict[str, Any] = {}
    commit = commit or _git(folder, "rev-parse", "--verify", "HEAD")
    if not commit or not _COMMIT.fullmatch(commit):
        return facts, None
    facts["commit"] = commit
    branch = _git(folder, "symbolic-ref", "--short", "-q", "HEAD")
    if branch:
        facts["branch"] = redact(branch)
    remotes = dict(
        line.split(" ", 1)
        for line in (_git(folder, "config", "--get-regexp", r"^remote\..*\.url$") or "").splitlines()
        if " " in line
    )
    if remotes:
        facts["remote"] = redact_url(remotes.get("remote.origin.url") or next(iter(remotes.values())))
    changed = _git_bytes(
        folder, "diff", "--no-color", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty", commit
    )
    if changed is None:
        return facts, None
    facts["dirty"] = bool(changed)
    if not changed:
        return facts, None
    kind = setting("DATAVER_LINEAGE_DIFF", "stat", "full", unknown="off")
    if kind == "off":
        facts["diff_left_out"] = "not wanted"
    elif len(changed) > MAX_DIFF:
        facts["diff_left_out"] = f"longer than {MAX_DIFF} bytes"
    else:
        shown = redact_diff(changed.decode("utf-8", "replace"), lines=kind != "stat")
        return facts, shown.encode("utf-8")
    return facts, None


def packages() -> bytes:
    """Return the installed packages: sorted lines of `name==version`, with the origin if it is not an index.

    Reads the names of `*.dist-info` folders on `sys.path`, not their metadata: 3 ms instead of 100 for 300
    packages. The Python packaging user guide, "Recording installed projects", defines the names.
    """
    lines: dict[str, str] = {}
    for place in sys.path:
        try:
            with os.scandir(place or ".") as entries:
                folders = [entry for entry in entries if entry.name.endswith((".dist-info", ".egg-info"))]
        except OSError:
            continue
        for entry in folders:
            name, _, version = entry.name.rpartition(".")[0].partition("-")
            if version:
                lines.setdefault(
                    name.lower().replace("_", "-"), f"{name}=={version.partition('-py')[0]}{_origin(entry)}"
                )
    text = "".join(f"{lines[name]}\n" for name in sorted(lines))
    return text.encode("utf-8", "replace")


def _origin(entry: os.DirEntry[str]) -> str:
    """Return the origin of a package that is not from an index (PEP 610), else an empty string."""
    path = Path(entry.path, "direct_url.json")
    try:
        data = path.read_bytes()
    except OSError:
        return ""

    from dataver.lineage.capture.redact import redact_url

    try:
        said = json.loads(data)
        commit = said.get("vcs_info", {}).get("commit_id", "")
        return f" @ {redact_url(str(said['url']))}{'@' + str(commit) if commit else ''}"
    except (ValueError, KeyError, AttributeError):
        return ""


def arguments() -> list[str]:
    """Return the command line, redacted and limited in length; for a notebook, its path."""
    from dataver.lineage.capture.redact import redact_arguments

    named = notebook()
    given = [named] if named is not None else [str(each) for each in getattr(sys, "argv", [])]
    shown = [_cut(each) for each in redact_arguments(given[:_ARGUMENTS])]
    return [*shown, f"… {len(given) - _ARGUMENTS} more"] if len(given) > _ARGUMENTS else shown


def notebook() -> str | None:
    """Return the path of the notebook that runs in this process, if its server or editor provides it.

    Jupyter Server sets `JPY_SESSION_NAME` for its kernels; VS Code sets `__vsc_ipynb_file__` in the
    notebook's own namespace; Databricks and Colab are not supported.
    """
    if "ipykernel" not in sys.modules:
        return None
    main = getattr(sys.modules.get("__main__"), "__vsc_ipynb_file__", None)
    return os.environ.get("JPY_SESSION_NAME") or (str(main) if main else None)


def _cut(text: str) -> str:
    text = text.encode("utf-8", "replace").decode("utf-8")  # no lone surrogates, which are invalid in JSON
    return text if len(text) <= _ARGUMENT else f"{text[:_ARGUMENT]}…"


def _user() -> str | None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        if os.environ.get(name):
            return os.environ[name]
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return None


def _git_folder(place: str) -> str | None:
    """Return the git folder of the work tree that contains `place`."""
    while True:
        candidate = f"{place}/.git"
        if os.path.isdir(candidate):  # noqa: PTH112
            return candidate
        if os.path.isfile(candidate):  # noqa: PTH113
            try:
                pointer = _read(candidate)
            except (OSError, ValueError):
                return None
            return os.path.join(place, pointer.removeprefix("gitdir: "))  # noqa: PTH118
        above = os.path.dirname(place)  # noqa: PTH120
        if above == place:
            return None
        place = above


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read().strip()


def _git(folder: Path, *arguments: str) -> str | None:
    data = _git_bytes(folder, *arguments)
    return None if data is None else data.decode("utf-8", "replace").strip()


def _git_bytes(folder: Path, *arguments: str) -> bytes | None:
    """Run git without side effects: no lock, hook, filter, monitor, transport or prompt."""
    import subprocess

    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    off = ["core.fsmonitor=false", "core.hooksPath=/dev/null", "protocol.allow=never"]
    if arguments[0] == "diff":  # the only command that reads files of the work tree
        filters = _git(
            folder, "config", "--name-only", "--get-regexp", r"^filter\..*\.(clean|process|required)$"
        )
        off += [
            f"{name}={'false' if name.endswith('.required') else ''}" for name in (filters or "").splitlines()
        ]
    command = ["git", *(word for each in off for word in ("-c", each)), *arguments]
    try:
        with subprocess.Popen(  # noqa: S603  # fixed words and a commit id
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            return _collect(process)
    except OSError:
        return None  # git is not installed


def _collect(process: Any) -> bytes | None:
    """Return the output of git, or None if it fails; with limits on size and time."""
    alarm = Timer(_GIT_SECONDS, process.kill)
    alarm.daemon = True
    alarm.start()
    try:
        data: bytes = process.stdout.read(MAX_DIFF + 1)
        if len(data) > MAX_DIFF:
            process.kill()
            return data
        return data if process.wait() == 0 else None
    finally:
        alarm.cancel()
