"""A bucket that keeps versions of its objects, as the history of a dataset."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.session
import pytest

import dataver
from dataver.errors import InvalidInput
from dataver.importers import import_versions, plan_import
from dataver.importers.s3_versions import S3VersionsSource


@pytest.fixture
def client(moto_server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of a server whose bucket `history` keeps versions, and `no-history` does not."""
    for name, value in moto_server.environment.items():
        monkeypatch.setenv(name, value)
    found = botocore.session.get_session().create_client("s3", endpoint_url=moto_server.endpoint)
    found.create_bucket(Bucket="history")
    found.put_bucket_versioning(Bucket="history", VersioningConfiguration={"Status": "Enabled"})
    found.create_bucket(Bucket="no-history")
    return found


def next_second(client: Any) -> None:
    """Wait until the server's clock, which states whole seconds, has moved on."""

    def now() -> Any:
        client.put_object(Bucket="no-history", Key="clock", Body=b"")
        return client.head_object(Bucket="no-history", Key="clock")["LastModified"]

    began = now()
    while now() == began:
        pass


def test_the_states_of_a_bucket_are_versions(client: Any, tmp_path: Path) -> None:
    """Overwritten and deleted objects are there in the versions of their time; no byte is stored."""
    client.put_object(Bucket="history", Key="raw/a", Body=b"first")
    next_second(client)
    client.put_object(Bucket="history", Key="raw/sub/b", Body=b"b")
    next_second(client)
    client.put_object(Bucket="history", Key="raw/a", Body=b"second")
    next_second(client)
    client.delete_object(Bucket="history", Key="raw/sub/b")
    repo = dataver.init(tmp_path / "repo")
    source = S3VersionsSource("s3://history/raw", "nights", gap=timedelta(0))
    plan = plan_import(repo, source, in_place=True)
    assert (len(plan.versions), plan.files, plan.stored, plan.places) == (4, 3, 0, ["s3://history/raw"])
    report = import_versions(repo, source, in_place=True, workspace=tmp_path)
    assert report.problems == []
    states = [
        {entry.path: version.read(entry.path) for entry in version.entries()} for version in report.versions
    ]
    assert states == [
        {"a": b"first"},
        {"a": b"first", "sub/b": b"b"},
        {"a": b"second", "sub/b": b"b"},
        {"a": b"second"},
    ]
    assert report.stored == 0
    again = import_versions(repo, source, in_place=True, workspace=tmp_path)
    assert (again.known, again.versions) == (4, [])
    moment = report.versions[1].created + timedelta(milliseconds=1)
    at = S3VersionsSource(
        "s3://history/raw", "picked", at=[("v1", moment), (None, report.versions[3].created)]
    )
    picked = import_versions(repo, at, in_place=True, workspace=tmp_path)
    assert [version.digest for version in picked.versions] == [
        report.versions[1].digest,
        report.versions[3].digest,
    ]
    assert repo.tagged("picked") == {"v1": "1.0.0"}


def test_objects_older_than_the_versioning_of_their_bucket_are_kept(client: Any, tmp_path: Path) -> None:
    """Their version is "null": the bytes that they had are read, during the import and afterwards."""
    client.create_bucket(Bucket="late-history")
    client.put_object(Bucket="late-history", Key="raw/a", Body=b"early")
    client.put_bucket_versioning(Bucket="late-history", VersioningConfiguration={"Status": "Enabled"})
    next_second(client)
    client.put_object(Bucket="late-history", Key="raw/a", Body=b"later")
    repo = dataver.init(tmp_path / "repo")
    source = S3VersionsSource("s3://late-history/raw", gap=timedelta(0))
    report = import_versions(repo, source, in_place=True, workspace=tmp_path)
    assert report.problems == []
    assert [version.read("a") for version in report.versions] == [b"early", b"later"]


def test_a_state_that_may_still_change_is_no_version(client: Any) -> None:
    """A later import would find another state at its place, and make a fork of it."""
    client.put_object(Bucket="history", Key="fresh/a", Body=b"a")
    source = S3VersionsSource("s3://history/fresh")
    assert list(source.versions()) == []
    [(name, reason)] = source.problems
    assert name == "the present state of s3://history/fresh"
    assert "repeat the import later" in reason
    at = S3VersionsSource("s3://history/fresh", at=[(None, datetime.now(UTC) + timedelta(minutes=1))])
    assert len(list(at.versions())) == 1


def test_a_bucket_without_versions_says_so(client: Any, tmp_path: Path) -> None:
    """The sentence names what can be done instead."""
    client.put_object(Bucket="no-history", Key="raw/a", Body=b"a")
    with pytest.raises(InvalidInput, match="no objects with versions"):
        import_versions(dataver.init(tmp_path / "repo"), S3VersionsSource("s3://no-history/raw"))
    with pytest.raises(InvalidInput, match="not the URL of an S3 bucket"):
        S3VersionsSource(str(tmp_path))
