"""`--verbose` and `--log-file`."""

import logging
from pathlib import Path

import pytest
from command_line import Run

import dataver
from dataver.errors import StoreError
from dataver.storage.retry import retry


def test_verbose_shows_decisions_and_twice_requests(run: Run, two_versions: Path) -> None:
    """The result is the same; the option stands before the command or after it, and counts."""
    plain = run("list")
    once = run("list", "-v")
    assert once.out == plain.out
    assert "dataver list -v (dataver " in once.err
    assert "the repository is " in once.err
    assert "read " not in once.err
    dataver.init("memory://logged")
    twice = run("-v", "list", "-v", "--repo", "memory://logged")
    assert "read dataver.json in memory://logged (" in twice.err
    assert "from --repo" in twice.err
    assert "published fresh@1.0.0" in run("sync", two_versions, "--name", "fresh", "-v").err
    assert "ms  " not in run("list").err


def test_a_log_file_has_everything_and_is_private(run: Run, two_versions: Path, work: Path) -> None:
    """Commands append to it; tracebacks of errors are only there."""
    log = work / "log"
    run("list", "--log-file", log)
    failed = run("--log-file", log, "show", "nope", "-vv", expect=4)
    assert "Traceback" not in failed.err
    text = log.read_text()
    assert text.count("the repository is") == 2
    assert "INFO dataver list --log-file" in text
    assert "dataver.errors.NotFound: there is no dataset 'nope'" in text
    assert log.stat().st_mode & 0o777 == 0o600
    assert "No such file" in run("list", "--log-file", work / "missing" / "log", expect=1).err


def test_logs_contain_no_secrets(
    run: Run, two_versions: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither those of the command line, nor values of secret variables, nor control characters."""
    monkeypatch.setenv("MY_API_TOKEN", "s3cr3t-of-a-variable")
    log = work / "log"
    words = ("--storage-option", "secret=wJalrXUtnFEMIKbPxRfiCYEXAMPLEKEY", "--log-file", log)
    run("show", "s3cr3t-of-a-variable", *words, "-vv", expect=1)  # a folder takes no storage option
    run("show", "s3cr3t-of-a-variable", "--log-file", log, expect=4)
    run("show", "bad\x1b[2Jname", "--log-file", log, expect=1)
    text = log.read_text()
    assert "wJalrXUtn" not in text
    assert "s3cr3t" not in text
    assert "\x1b" not in text


def test_logging_ends_with_the_command(run: Run, two_versions: Path) -> None:
    """A process that runs several commands keeps no handler."""
    run("list", "-vv")
    logger = logging.getLogger("dataver")
    assert (logger.handlers, logger.level) == ([], logging.NOTSET)


def test_retries_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The error and the pause are in the message."""
    caplog.set_level(logging.INFO, "dataver")
    errors = [StoreError("no answer.", transient=True)]

    def call(_left: float) -> str:
        if errors:
            raise errors.pop()
        return "done"

    assert retry(call, sleep=lambda _seconds: None) == "done"
    (record,) = caplog.records
    assert record.message.startswith("attempt 1 failed, the next one follows in 0.")
    assert record.message.endswith(": no answer.")
