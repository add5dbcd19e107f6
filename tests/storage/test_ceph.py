"""Ceph's gateway, which honours conditions on single PUTs only: what it ignores is not relied upon.

`make test-ceph` runs these besides the store contract and the end-to-end suite.
"""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

import dataver
from dataver.errors import AlreadyExists
from dataver.storage import Store, open_store
from servers import Server
from servers.fault_schedule import FaultSchedule
from servers.proxy import Break, FaultyNetwork

pytestmark = pytest.mark.servers

_RACERS, _KEYS = 8, 20


@pytest.fixture
def store(ceph_server: Server) -> Store:
    """An empty store on it."""
    return open_store(ceph_server.url(f"ceph/{secrets.token_hex(8)}"), ceph_server.options)


@pytest.fixture
def plain(ceph_server: Server) -> Iterator[Any]:
    """Botocore's client, with nothing of ours."""
    import botocore.session

    client = botocore.session.get_session().create_client(
        "s3",
        endpoint_url=ceph_server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=ceph_server.options["key"],
        aws_secret_access_key=ceph_server.options["secret"],
    )
    yield client
    client.close()


def test_of_racing_creators_one_wins(store: Store) -> None:
    """Eight threads create the same twenty keys at the same moment: each has one winner, and its bytes."""
    gate = Barrier(_RACERS)

    def race(me: int) -> set[str]:
        won = set()
        for number in range(_KEYS):
            gate.wait()
            try:
                store.create(f"refs/{number}", f"{me}".encode())
                won.add(f"refs/{number}")
            except AlreadyExists:
                continue
        return won

    with ThreadPoolExecutor(_RACERS) as pool:
        won = list(pool.map(race, range(_RACERS)))
    for number in range(_KEYS):
        winners = [me for me, keys in enumerate(won) if f"refs/{number}" in keys]
        assert winners == [int(store.get(f"refs/{number}"))]


def test_a_large_object_is_created_once(store: Store) -> None:
    """The second creator of a large object is refused, and its bytes stay."""
    body = secrets.token_bytes(80 << 20)
    store.create("packs/large", body)
    with pytest.raises(AlreadyExists):
        store.create("packs/large", body[::-1])
    assert store.get("packs/large") == body


def test_by_multipart_it_would_be_overwritten(store: Store, plain: Any, ceph_server: Server) -> None:
    """Why no object is sent in parts: completing an upload replaces what is there, whatever the condition."""
    from botocore.exceptions import ClientError

    store.create("key", b"first")
    key = store.url.partition(f"{ceph_server.bucket}/")[2] + "/key"
    where = {"Bucket": ceph_server.bucket, "Key": key}
    upload = plain.create_multipart_upload(**where)["UploadId"]
    tag = plain.upload_part(**where, UploadId=upload, PartNumber=1, Body=b"second")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": tag}]}
    try:
        plain.complete_multipart_upload(**where, UploadId=upload, MultipartUpload=parts, IfNoneMatch="*")
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 412:
            raise
        pytest.skip("this gateway is newer, and honours the condition")
    assert store.get("key") == b"second"


def test_a_version_is_sent_without_multipart(ceph_server: Server, tmp_path: Path) -> None:
    """Whatever the size of files, every object is one PUT, and the record's is conditional."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "large").write_bytes(secrets.token_bytes(150_000_000))
    url = ceph_server.url(f"ceph/{secrets.token_hex(8)}")
    with FaultyNetwork(ceph_server.endpoint, lambda _seen: None) as network:
        options = ceph_server.options | {"endpoint_url": network.endpoint}
        repo = dataver.init(url, storage_options=options)
        assert repo._core.config.create_if_absent
        repo.sync(tmp_path / "source", "d", workspace=tmp_path)
        assert repo.verify("d").ok
        sent = [seen for seen in network.seen if seen.method in ("PUT", "POST")]
    assert sum("/packs/" in seen.path for seen in sent) >= 2
    assert not [seen.path for seen in sent if seen.method == "POST" or "uploadId" in seen.path]
    records = [seen for seen in sent if "/versions/" in seen.path]
    assert [seen.headers.get("If-None-Match") for seen in records] == ["*"]


def test_what_is_damaged_on_the_way_there_is_refused(ceph_server: Server) -> None:
    """A bit that flips in a body is found by its MD5, and the object sent again."""
    schedule = FaultSchedule({Break.FLIP_SENT: 0.5})
    bodies = {f"packs/{number}": secrets.token_bytes(1 << 20) for number in range(8)}
    bodies |= {f"trees/{number}": secrets.token_bytes(1000) for number in range(8)}
    with FaultyNetwork(ceph_server.endpoint, schedule) as network:
        options = ceph_server.options | {"endpoint_url": network.endpoint}
        far = open_store(ceph_server.url(f"ceph/{secrets.token_hex(8)}"), options)
        for key, body in bodies.items():
            far.put(key, body)
        assert network.broken[Break.FLIP_SENT] >= 4
    near = open_store(far.url, ceph_server.options)
    assert {key: near.get(key) for key in bodies} == bodies
