"""Completion in shells, driven as a user does."""

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Run

BREAKS = " \t\n\"'@><=;|&(:"  # bash's own separators


def complete(line: str, work: Path, **environment: str) -> list[str]:
    """Return what the program answers to bash for a command line."""
    settings = {"_DATAVER_COMPLETE": "bash_complete", "COMP_LINE": line, **environment}
    done = subprocess.run(
        [sys.executable, "-m", "dataver_cli"],
        env={**os.environ, **settings},
        cwd=work,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_shells_complete_commands_names_and_drafts(run: Run, two_versions: Path, work: Path) -> None:
    """Commands, datasets, labels, tags and ids of drafts complete; what is wrong completes to nothing."""
    draft = run("create", "dogs", "--json").json["draft"]
    assert complete("dataver fi", work) == ["finalize"]
    assert complete("dataver show vis", work) == ["vision/cats"]
    labels = ["1.0.0", "1.0.1", "production", "latest"]
    assert complete("dataver show vision/cats@", work) == [f"vision/cats@{each}" for each in labels]
    assert complete("dataver show vision/cats@", work, COMP_WORDBREAKS=BREAKS) == [
        f"@{each}" for each in labels
    ]
    assert complete(f"dataver upload --draft {draft[:3]}", work) == [draft]
    assert complete(f"dataver upload --draft={draft[:3]}", work, COMP_WORDBREAKS=BREAKS) == [draft]
    assert complete("dataver create dogs --parent=vision/cats@l", work, COMP_WORDBREAKS=BREAKS) == ["@latest"]
    assert complete("dataver show nothing-like-this", work) == []
    assert complete("dataver help fet", work) == complete("dataver fet", work) == ["fetch"]
    assert complete("dataver help lineage imp", work) == ["impact"]
    assert complete("dataver rm --exc", work) == ["--exclude"]
    assert complete("dataver nope x", work) == []
    assert complete("dataver show 'vision", work) == ["vision/cats"]


def test_names_of_a_remote_repository_are_known_without_a_request(
    run: Run, two_versions: Path, work: Path
) -> None:
    """The lock file, drafts and the cache name them; nothing listens at the URL."""
    run("lock", "vision/cats@production")
    url = "s3://nothing/here"
    there = {"DATAVER_REPO": url, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    assert complete("dataver fetch v", work, **there) == ["vision/cats"]
    assert complete("dataver fetch vision/cats@", work, **there) == [
        "vision/cats@1.0.1",
        "vision/cats@production",
    ]
    assert complete(f"dataver --repo {url} fetch vision/cats@p", work) == ["vision/cats@production"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(run: Run, shell: str) -> None:
    """Every shell gets a script for the command `dataver`."""
    assert "_DATAVER_COMPLETE" in run("completion", shell).out


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program `dataver` first in PATH."""
    script = tmp_path / "bin" / "dataver"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m dataver_cli "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")


def typed(shell: list[str], keys: str) -> str:
    """Type into an interactive shell until it ends; return what it prints."""
    main, side = pty.openpty()
    with subprocess.Popen(
        shell, stdin=side, stdout=side, stderr=side, env=os.environ | {"TERM": "dumb"}, start_new_session=True
    ):
        os.close(side)
        os.write(main, keys.encode())
        shown = b""
        try:
            while piece := os.read(main, 4096):
                shown += piece
        except OSError:  # the shell has ended
            pass
    os.close(main)
    return shown.decode()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("breaks", [BREAKS, " \t\n"])
def test_a_real_bash_completes_names(program: None, two_versions: Path, breaks: str) -> None:
    """A name may continue with `@`, and `@` and `=` separate words of bash or not."""
    lines = [
        f"COMP_WORDBREAKS={chr(36)}{breaks!r}",
        'eval "$(command dataver completion bash)"',
        "dataver() { printf '<%s>' \"$@\"; echo; }",  # completion calls the program in PATH, not this
        "dataver sho\tvis\t@pro\t-l",
        "dataver show vision/cats@1.0.1\t-l",
        "dataver --quiet diff vision/cats@1.0.0 vi\t@lat\t--stat",
        "dataver create x --parent=vision/cats@prod\t--quiet",
        "exit",
    ]
    shown = typed(["bash", "--norc", "--noprofile", "-i"], "\n".join(lines) + "\n")
    for words in (
        "<show><vision/cats@production><-l>",
        "<show><vision/cats@1.0.1><-l>",
        "<--quiet><diff><vision/cats@1.0.0><vision/cats@latest><--stat>",
        "<create><x><--parent=vision/cats@production><--quiet>",
    ):
        assert words in shown


ZSH = [
    "autoload -Uz compinit && compinit -u -D",
    'eval "$(command dataver completion zsh)"',
    "dataver() { printf '<%s>' \"$@\"; echo; }",
]
FISH = [
    "command dataver completion fish | source",
    "function dataver; printf '<%s>' $argv; echo; end",
]


@pytest.mark.parametrize(("shell", "settings"), [(["zsh", "-f", "-i"], ZSH), (["fish", "-N", "-i"], FISH)])
def test_a_real_zsh_and_a_real_fish_complete_names(
    program: None, two_versions: Path, shell: list[str], settings: list[str]
) -> None:
    """Commands, datasets, and tags after `@` complete."""
    if shutil.which(shell[0]) is None:
        pytest.skip(f"needs {shell[0]}")
    lines = [
        *settings,
        "dataver sho\tvis\t-l",
        "dataver show vision/cats@pro\t-l",
        "dataver --quiet diff vision/cats@1.0.0 vision/cats@lat\t--stat",
        "exit",
    ]
    shown = typed(["setsid", "--ctty", "--wait", *shell], "\n".join(lines) + "\n")
    for words in (
        "<show><vision/cats><-l>",
        "<show><vision/cats@production><-l>",
        "<--quiet><diff><vision/cats@1.0.0><vision/cats@latest><--stat>",
    ):
        assert words in shown, shown
