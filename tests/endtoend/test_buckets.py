"""Buckets with settings of their own: versioning, Object Lock, a policy that requires conditions."""

import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import botocore.session
import pytest

import dataver
from servers import Server
from servers.proxy import FaultyNetwork

from .conftest import contents

pytestmark = pytest.mark.servers


@pytest.fixture
def client(moto_server: Server) -> Iterator[Any]:
    """A plain client of moto."""
    made = botocore.session.get_session().create_client(
        "s3",
        endpoint_url=moto_server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=moto_server.options["key"],
        aws_secret_access_key=moto_server.options["secret"],
    )
    yield made
    made.close()


@pytest.fixture
def bucket(client: Any) -> Callable[..., str]:
    """Return a function that makes a bucket with versioning."""

    def make(**settings: Any) -> str:
        name = f"bucket-{secrets.token_hex(6)}"
        client.create_bucket(Bucket=name, **settings)
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name

    return make


def published(server: Server, bucket: str, tmp_path: Any) -> dataver.Repository:
    """Return a repository with two versions that share nothing, of which the first is deleted and freed."""
    repo = dataver.init(f"s3://{bucket}/repo", storage_options=server.options)
    for number in range(2):
        folder = tmp_path / f"data {number}"
        folder.mkdir()
        (folder / f"file{number}").write_bytes(secrets.token_bytes(50_000 + 200_000 * number))
        repo.sync(folder, f"d{number}")
    repo.delete("d0@1.0.0")
    report = repo.gc(grace=timedelta())
    assert report.packs == 1
    assert not report.problems
    return repo


def test_a_bucket_with_versioning_brings_deleted_versions_back(
    moto_server: Server, client: Any, bucket: Any, machines: Any, tmp_path: Any
) -> None:
    """After `delete` and `gc`, removing the delete markers and the tombstone brings the version back."""
    machines[0].sit_down()
    name = bucket()
    published(moto_server, name, tmp_path)
    listed = client.list_object_versions(Bucket=name, Prefix="repo/")
    for marker in listed["DeleteMarkers"]:
        if marker["IsLatest"] and marker["Key"].split("/")[1] in ("packs", "trees", "datasets"):
            client.delete_object(Bucket=name, Key=marker["Key"], VersionId=marker["VersionId"])
    client.delete_object(Bucket=name, Key="repo/datasets/d0/versions/1.0.0.tombstone")
    machines[1].sit_down()
    again = dataver.open(f"s3://{name}/repo", storage_options=moto_server.options)
    assert contents(again.fetch("d0@1.0.0").path) == contents(tmp_path / "data 0")
    assert not again.verify().findings


def test_a_bucket_with_object_lock(
    moto_server: Server, client: Any, bucket: Any, machines: Any, tmp_path: Any
) -> None:
    """Publishing, deleting and `gc` work; the locked data of what `gc` deleted stays in the bucket."""
    machines[0].sit_down()
    name = bucket(ObjectLockEnabledForBucket=True)
    client.put_object_lock_configuration(
        Bucket=name,
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}},
        },
    )
    repo = published(moto_server, name, tmp_path)
    assert not repo.verify().findings
    listed = client.list_object_versions(Bucket=name, Prefix="repo/packs/")
    gone = {marker["Key"] for marker in listed["DeleteMarkers"]}
    kept = [each for each in listed["Versions"] if each["Key"] in gone]
    assert len(kept) == 1
    with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
        client.delete_object(Bucket=name, Key=kept[0]["Key"], VersionId=kept[0]["VersionId"])


def test_every_name_is_written_on_condition(moto_server: Server, machines: Any, tmp_path: Any) -> None:
    """Each PUT below `datasets/` has `If-None-Match: *`, so a bucket's policy may require it."""
    machines[0].sit_down()
    url = moto_server.url(f"conditions/{secrets.token_hex(6)}")
    with FaultyNetwork(moto_server.endpoint, lambda _seen: None) as network:
        repo = dataver.init(url, storage_options=moto_server.options | {"endpoint_url": network.endpoint})
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "file").write_text("content")
        repo.sync(tmp_path / "data", "d")
        repo.tag("d@1.0.0", "production")
        repo.untag("d", "production")
        repo.delete("d@1.0.0")
        puts = [seen for seen in network.seen if seen.method == "PUT"]
    named = [seen for seen in puts if "/datasets/" in seen.path]
    assert len(named) == 4  # record, two moves of the tag, tombstone
    assert {seen.headers.get("If-None-Match") for seen in named} == {"*"}
