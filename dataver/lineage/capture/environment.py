"""The code and the machine: command line, user, host, Python; git's commit and uncommitted diff; packages.

Two parts. `at_once` is for the path of a fetch: a few system calls and reads of small files, the commit among
them, since it must be the one of the start. `arguments`, `git_facts` and `packages` compile patterns, start
git and read folders, and belong on a thread of their own. Nothing raises; what cannot be found out is left
out. Everything is redacted.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any, Final

__all__ = ["MAX_DIFF", "arguments", "at_once", "code_folder", "diff_wanted", "git_facts", "head", "packages"]

MAX_DIFF: Final = 4 << 20  # bytes of an uncommitted diff; a longer one is left out, and that is said
_GIT_SECONDS: Final = 20.0
_ARGUMENTS: Final = 200
_ARGUMENT: Final = 1_000  # characters
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def at_once(folder: Path | None = None) -> dict[str, Any]:
    """Return what is cheap to know: `host`, `user`, `python`, `platform`, and `git` with the commit.

    Args:
        folder: of the code; None finds it.
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


def code_folder(*, script: bool = True) -> Path | None:
    """Return a folder inside the git work tree of the code: the main script's, else the current one."""
    main = getattr(sys.modules.get("__main__"), "__file__", None) if script else None
    places = [os.path.dirname(os.path.abspath(main))] if main else []  # noqa: PTH100, PTH120  # quick
    try:
        places.append(os.getcwd())  # noqa: PTH109
    except OSError:
        pass  # the folder is gone
    for place in places:
        if _git_folder(place):
            return Path(place)
    return None


def head(folder: Path) -> str | None:
    """Return the commit that is checked out, read from git's own files; None where they do not tell."""
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
        pass  # git itself is asked later
    return None


def diff_wanted() -> bool:
    """Return whether uncommitted changes are to be kept: not with `DATAVER_LINEAGE_DIFF=off`."""
    return os.environ.get("DATAVER_LINEAGE_DIFF", "").lower() not in ("off", "0", "no", "false")


def git_facts(folder: Path, commit: str | None) -> tuple[dict[str, Any], bytes | None]:
    """Ask git; takes 10 to 50 ms, or long in a large work tree.

    Args:
        folder: inside the work tree.
        commit: what was checked out at the start; None means what is now.

    Returns:
        `commit`, `branch`, `remote`, `dirty`, as far as they are known; and the uncommitted diff, redacted,
        where there is one, it is wanted and not too long (`diff_left_out` says why not).
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
    if not diff_wanted():
        facts["diff_left_out"] = "not wanted"
    elif len(changed) > MAX_DIFF:
        facts["diff_left_out"] = f"longer than {MAX_DIFF} bytes"
    else:
        return facts, redact_diff(changed.decode("utf-8", "replace")).encode("utf-8")
    return facts, None


def packages() -> bytes:
    """Return the installed packages: lines of `name==version`, sorted, and where it is no index, the origin.

    Reads the names of `*.dist-info` folders on `sys.path`, not their metadata: 3 ms instead of 100 for 300
    packages. Source of the names' form: the Python packaging user guide, "Recording installed projects".
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
    """Say where a package came from if not from an index (PEP 610)."""
    path = Path(entry.path, "direct_url.json")
    try:
        data = path.read_bytes()
    except OSError:
        return ""
    import json

    from dataver.lineage.capture.redact import redact_url

    try:
        said = json.loads(data)
        commit = said.get("vcs_info", {}).get("commit_id", "")
        return f" @ {redact_url(str(said['url']))}{'@' + str(commit) if commit else ''}"
    except (ValueError, KeyError, AttributeError):
        return ""


def arguments() -> list[str]:
    """Return the command line, redacted; long ones are cut."""
    from dataver.lineage.capture.redact import redact_arguments

    given = [str(each) for each in getattr(sys, "argv", [])]
    shown = [_cut(each) for each in redact_arguments(given[:_ARGUMENTS])]
    return [*shown, f"… {len(given) - _ARGUMENTS} more"] if len(given) > _ARGUMENTS else shown


def _cut(text: str) -> str:
    text = text.encode("utf-8", "replace").decode("utf-8")  # no lone surrogates, which JSON cannot hold
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
    """Return git's own folder of the work tree around `place`."""
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
    """Run git without touching anything: no locks taken, no hooks, no pager, no prompt."""
    import subprocess

    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", *arguments]
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
        return None  # there is no git


def _collect(process: Any) -> bytes | None:
    """Read at most a diff's worth, in bounded time."""
    from threading import Timer

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
