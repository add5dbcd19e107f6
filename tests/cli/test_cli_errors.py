"""Every error ends in one sentence, a hint and its exit code."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import pytest
from command_line import Run

import dataver
from dataver.errors import DataverError
from dataver_cli.errors import EXIT_CODES, exit_code_of

KINDS = {
    "AlreadyExists": 5,
    "Conflict": 5,
    "DataverError": 1,
    "FormatTooNew": 1,
    "Incomplete": 3,
    "IntegrityError": 6,
    "InternalError": 1,
    "InvalidInput": 1,
    "NotFound": 4,
    "PathNotFound": 4,
    "StoreError": 7,
}


def every_error() -> list[type[DataverError]]:
    return [
        value
        for name in dataver.__all__
        if isinstance(value := getattr(dataver, name), type) and issubclass(value, DataverError)
    ]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_public_error_has_an_exit_code(
    kind: type[DataverError], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each error of the library is printed with its hint and ends with its documented code."""
    code = exit_code_of(kind("it failed.", hint="try this"), as_json=False)
    assert code == KINDS[kind.__name__]
    assert code in EXIT_CODES
    assert capsys.readouterr().err == "dataver: it failed.\n  hint: try this\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (click.UsageError("no"), 2),
        (PermissionError(13, "Permission denied", "/x"), 1),
        (ZeroDivisionError("oops"), 1),
    ],
)
def test_other_errors_have_exit_codes_too(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C, wrong usage, the system's errors and our defects end in a sentence, never in a traceback."""
    assert exit_code_of(error, as_json=False) == code
    said = capsys.readouterr().err
    assert said.startswith("dataver: ") or "Interrupted" in said
    assert "Traceback" not in said


def test_errors_are_json_where_asked(run: Run) -> None:
    """With --json the error is JSON on stderr, and stdout stays empty."""
    run("init", "repo")
    done = run("show", "nope", "--json", expect=4)
    assert done.out == ""
    assert json.loads(done.err)["error"]["code"] == "not-found"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["show", "nope"], 4),
        (["show", "vision/cats@9.9.9"], 4),
        (["show", "dv1:ffffffff"], 4),
        (["show", "dv1:zz"], 1),
        (["show", "../up"], 1),
        (["show", "vision/cats@"], 1),
        (["cat", "vision/cats", "no/such/file"], 4),
        (["fetch", "vision/cats", "--verify", "often"], 2),
        (["fetch", "vision/cats", "--dest", "s3://bucket/x"], 1),
        (["list", "--repo", "s3:/bucket/x"], 1),
        (["init", "s3:/bucket/x"], 1),
        (["tag", "vision/cats", "latest"], 1),
        (["tag", "vision/cats", "1.0.0"], 1),
        (["untag", "vision/cats", "nope"], 4),
        (["create", "bad name"], 1),
        (["create", "cats", "--parent", "nope"], 4),
        (["add", "photos"], 4),
        (["status"], 4),
        (["upload", "--draft", "abc"], 4),
        (["list", "nope"], 4),
        (["list", "--repo", "elsewhere"], 4),
        (["init", "repo", "--chunk-size", "65536"], 5),
        (["finalise"], 2),
        (["list", "--nope"], 2),
        (["add"], 2),
        (["list", "--storage-option", "novalue"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_bad_input_is_refused(run: Run, two_versions: Path, arguments: Sequence[str], code: int) -> None:
    """Wrong names and options end with the right code, a sentence, and nothing on stdout."""
    done = run(*arguments, expect=code)
    assert done.out == ""
    assert done.err.startswith("dataver: ")


def test_an_unknown_command_names_the_nearest(run: Run) -> None:
    """A slip of the finger is answered with what was meant."""
    assert "Did you mean finalize?" in run("finalise", expect=2).err


def test_what_was_left_out_is_listed(run: Run, photos: Path) -> None:
    """A file that cannot be added is named, the rest is added, and the exit code is 3."""
    os.mkfifo(photos / "pipe")
    run("init", "repo")
    run("create", "cats")
    done = run("add", photos, expect=3)
    assert "pipe" in done.err
    assert "1 item could not be added; the rest was done." in done.err
    assert run("status", "--json").json["files"] == 5
    assert "pipe" in run("add", photos, "--json", expect=3).json["problems"][0]["name"]


def test_an_empty_change_is_refused(run: Run, two_versions: Path) -> None:
    """`finalize` of an unchanged draft says how to insist."""
    run("create", "vision/cats", "--parent", "vision/cats")
    assert "--allow-empty" in run("finalize", expect=1).err
    run("finalize", "--allow-empty")


def test_a_taken_label_is_a_conflict(run: Run, two_versions: Path) -> None:
    """A label chosen by hand that exists is refused at upload."""
    run("create", "vision/cats")
    run("add", two_versions)
    run("finalize", "--label", "1.0.0", "--allow-empty")
    run("upload", expect=5)


def test_damaged_packs_are_found(run: Run, two_versions: Path, work: Path) -> None:
    """A flipped byte in a pack: verify lists it and fetch fails, both with exit code 6."""
    pack = next((work / "repo" / "packs").rglob("?" * 64))
    data = bytearray(pack.read_bytes())
    data[len(data) // 3] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(data)
    assert run("verify", "vision/cats@1.0.0", "--json", expect=6).json["findings"]
    run("verify", "vision/cats@1.0.0", "--quick", expect=6)
    run("fetch", "vision/cats@1.0.0", "--dest", "out", expect=6)


def test_control_characters_are_shown_not_obeyed(run: Run, two_versions: Path) -> None:
    """An escape sequence in a name reaches the terminal as text, in results and in errors."""
    hostile = "\x1b[2J\u202eevil"
    assert "\x1b" not in run("show", hostile, expect=1).err
    run("create", "cats")
    run("add", two_versions)
    run("finalize", "-m", f"first {hostile}", "--upload")
    for done in (run("list", "cats"), run("show", "cats"), run("log", "cats"), run("show", "cats", "--json")):
        assert "\x1b" not in done.out
        assert "\u202e" not in done.out
        assert "evil" in done.out


def cat(repo: Path) -> "subprocess.Popen[bytes]":
    """Start writing a file that no pipe holds; return when its first byte has arrived."""
    code = (
        "import signal, sys; from dataver_cli.main import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # background jobs inherit SIG_IGN
        "sys.exit(main(sys.argv[1:]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "cat", "big", "big.bin", "--repo", str(repo)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.read(1)
    return process


def finish(process: "subprocess.Popen[bytes]") -> int:
    """Close the pipes, and return the exit code."""
    for pipe in (process.stdout, process.stderr):
        assert pipe is not None
        pipe.close()
    return process.wait()


@pytest.fixture
def big(run: Run, tmp_path: Path, work: Path) -> Path:
    folder = tmp_path / "big"
    folder.mkdir()
    (folder / "big.bin").write_bytes(b"0123456789abcdef" * 500_000)
    run("init", "repo")
    run("sync", folder, "--name", "big")
    return work / "repo"


def test_ctrl_c_ends_cleanly(big: Path) -> None:
    """SIGINT while a command writes: one sentence, exit code 130."""
    process = cat(big)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    said = process.stderr.read().decode()
    assert finish(process) == 130
    assert said.strip().startswith("dataver: Interrupted.")
    assert "Traceback" not in said


def test_a_reader_that_goes_away_is_no_error(big: Path) -> None:
    """`dataver cat … | head`: no message, the exit code of a closed pipe."""
    process = cat(big)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert finish(process) == 141
