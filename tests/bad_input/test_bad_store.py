"""A bucket that is not there, credentials that are wrong: through the whole library, no secret ever shown."""

import logging
import os
import subprocess
import sys
import traceback

import pytest

import dataver
from dataver.errors import DataverError, NotFound, StoreError

CANARY = "canary-SECRET-7f3a91"


def shown(error):
    return "".join(traceback.format_exception(error)) + repr(error) + str(error.hint)


@pytest.mark.parametrize("call", [dataver.open, dataver.init], ids=["open", "init"])
def test_a_bucket_that_does_not_exist_is_named(s3_server, call):
    """Neither a missing repository nor a defect: the bucket is the problem."""
    if s3_server.name == "seaweedfs" and call is dataver.init:
        pytest.skip("SeaweedFS makes missing buckets when an administrator writes")
    with pytest.raises(StoreError, match="bucket does not exist") as caught:
        call("s3://there-is-no-such-bucket/repo", storage_options=s3_server.options)
    assert "there-is-no-such-bucket" in str(caught.value)
    assert s3_server.options["secret"] not in shown(caught.value)


def test_an_empty_prefix_is_not_a_repository(s3_server):
    """The hint is the command that makes one, with the URL as given."""
    with pytest.raises(NotFound, match="is not a dataver repository") as caught:
        dataver.open(s3_server.url("nothing/here"), storage_options=s3_server.options)
    assert f"dataver init {s3_server.url('nothing/here')}" in caught.value.hint


@pytest.mark.servers
@pytest.mark.parametrize("call", [dataver.open, dataver.init], ids=["open", "init"])
def test_wrong_credentials_are_told_and_never_shown(seaweedfs_server, monkeypatch, caplog, call):
    """From the environment or as options: in no message, hint, traceback or log."""
    url = seaweedfs_server.url("wrong")
    wrong = seaweedfs_server.options | {"secret": CANARY}
    with caplog.at_level(logging.DEBUG), pytest.raises(StoreError, match="credentials") as caught:
        call(url, storage_options=wrong)
    assert not caught.value.transient
    for name, value in (seaweedfs_server.environment | {"AWS_SECRET_ACCESS_KEY": CANARY}).items():
        monkeypatch.setenv(name, value)
    with caplog.at_level(logging.DEBUG), pytest.raises(StoreError, match="credentials") as again:
        call(url)
    assert CANARY not in shown(caught.value) + shown(again.value) + caplog.text


@pytest.mark.servers
def test_the_command_line_shows_no_secret_either(seaweedfs_server, tmp_path):
    """Exit code 7, one sentence, a hint; the secret is on neither stream, as text or JSON."""
    environment = os.environ | seaweedfs_server.environment | {"AWS_SECRET_ACCESS_KEY": CANARY}
    for extra in ([], ["--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "dataver_cli", "init", seaweedfs_server.url("cli"), *extra],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert done.returncode == 7
        assert "credentials" in done.stderr
        assert "Traceback" not in done.stderr
        assert CANARY not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "url", [f"s3://key:{CANARY}@bucket/x", f"s3://bucket/x?secret={CANARY}", f"ftp://u:{CANARY}@h/x"]
)
def test_a_secret_in_a_url_is_refused_and_not_repeated(url, tmp_path, monkeypatch):
    """URLs are stored and printed, so credentials have no place in them, wherever they were written."""
    monkeypatch.setenv("DATAVER_REPO", url)
    for call in (lambda: dataver.open(url), lambda: dataver.init(url), dataver.open):
        with pytest.raises(DataverError) as caught:
            call()
        assert CANARY not in str(caught.value) + str(caught.value.hint)


@pytest.mark.servers
def test_a_draft_keeps_no_secret_on_the_disk(moto_server, tmp_path):
    """Options with a literal secret stay in memory: neither the workspace nor the cache holds them."""
    options = moto_server.options
    repo = dataver.init(moto_server.url("secretless"), storage_options=options)
    (tmp_path / "file").write_text("x")
    draft = repo.create("d", workspace=tmp_path / "work")
    draft.add(tmp_path / "file")
    draft.finalize()
    draft.upload()
    repo.fetch("d")
    for folder in (tmp_path / "work", tmp_path / "cache"):
        for path in folder.rglob("*"):
            if path.is_file():
                assert options["secret"].encode() not in path.read_bytes()
