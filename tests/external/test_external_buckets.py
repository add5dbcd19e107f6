"""External files in buckets of real servers: ETags, version ids, and who may read which bucket."""

import pytest

import dataver
from dataver.errors import IntegrityError, StoreError
from dataver.machine.configuration import user_config_path
from dataver.storage import ObjectChanged, open_store

pytestmark = pytest.mark.servers


@pytest.fixture
def bucket(s3_server, world, monkeypatch, request):
    """A prefix of a bucket with 30 small objects and one of several reads, in the environment."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    url = s3_server.url(f"raw-{abs(hash(request.node.name))}")
    store = open_store(url)
    for number in range(30):
        store.put(f"small/{number:02d}", world.noise.randbytes(2000 + number))
    store.put("large", world.noise.randbytes(9_000_000))
    world.server, world.url, world.store = s3_server, url, store
    return world


@pytest.mark.slow
def test_objects_are_recorded_and_fetched(bucket):
    """A repository on this machine names objects in a bucket; each comes back, and nothing was copied."""
    version = bucket.record(bucket.url)
    assert (version.file_count, bucket.report.read) == (31, version.size) and bucket.objects("packs") == []
    repo = bucket.fresh()
    out = repo.fetch("ext", dest=bucket.root / "out").path
    assert (out / "large").read_bytes() == bucket.store.get("large")
    assert (out / "small/07").read_bytes() == bucket.store.get("small/07")
    assert repo.verify("ext").ok and repo.verify("ext", quick=True).ok
    draft = repo.create("ext", parents="ext", workspace=bucket.root)
    report = draft.add_external(bucket.url)
    assert (report.unchanged, report.read) == (31, 0) and not draft.changed


@pytest.mark.parametrize("key", ["small/07", "large"])
@pytest.mark.parametrize("change", ["other bytes", "shorter", "gone"])
@pytest.mark.slow
def test_a_changed_object_is_told_by_name(bucket, key, change):
    """The store's tag tells of another object of the same size; shorter and missing ones are told of, too."""
    bucket.record(bucket.url)
    data = bucket.store.get(key)
    if change == "gone":
        bucket.store.delete(key)
    else:
        bucket.store.put(key, bytes(len(data)) if change == "other bytes" else data[:-1])
    repo = bucket.fresh()
    for look in (lambda: repo.fetch("ext", dest=bucket.root / "out"), lambda: repo.version("ext").read(key)):
        with pytest.raises(IntegrityError, match=f"{bucket.url}/{key} was changed after it was recorded"):
            look()
    assert [path for path, _ in repo.verify("ext", quick=True).findings] == [key]
    assert [path for path, _ in repo.verify("ext").findings] == [key]
    assert repo.fetch("ext", include="small/1*").files == 10


def test_a_pinned_read_fails_where_the_object_was_replaced(bucket):
    """Each read names the ETag that was recorded, so a change in the middle of a file is noticed, too."""
    pin = bucket.store.pin("large")
    assert pin.size == 9_000_000 and pin.etag
    assert len(bucket.store.get_pinned("large", pin, 5, 100)) == 100
    bucket.store.put("large", bytes(9_000_000))
    with pytest.raises(ObjectChanged):
        bucket.store.get_pinned("large", pin, 105, 100)


@pytest.mark.slow
def test_an_object_and_a_place_without_anything(bucket):
    """One object can be recorded by its URL; a prefix that holds nothing is an error."""
    draft = bucket.repo.create("one", workspace=bucket.root)
    assert draft.add_external(f"{bucket.url}/small/07", dest="x").files == 1
    assert [entry.path for entry in draft.tree.iterate()] == ["x/07"]
    with pytest.raises(dataver.errors.PathNotFound):
        draft.add_external(f"{bucket.url}/smal")
    report = draft.add_external(bucket.url, include=["small/*"], exclude=["*1", "*2"])
    assert (report.files, report.ignored) == (24, 7)


@pytest.mark.slow
def test_the_repositorys_own_bucket_needs_no_permission(bucket):
    """Another machine reads files beside the repository at once, and those of another bucket when told to."""
    home = dataver.init(bucket.server.url(f"repo-{abs(hash(bucket.url))}"))
    bucket.record(bucket.url, repo=home)
    assert not user_config_path().exists()
    assert dataver.open(home.url).fetch("ext", dest=bucket.root / "out").files == 31
    bucket.record(bucket.url)  # into a folder: noted in this user's file
    user_config_path().unlink()
    with pytest.raises(StoreError, match="not permitted"):
        bucket.fresh().fetch("ext", dest=bucket.root / "out2")


def test_a_version_of_an_object_outlives_the_object(moto_server, world, monkeypatch):
    """In a bucket that keeps versions, the one that was recorded is read, whatever became of the object."""
    import botocore.session

    for name, value in moto_server.environment.items():
        monkeypatch.setenv(name, value)
    client = botocore.session.get_session().create_client("s3", endpoint_url=moto_server.endpoint)
    client.create_bucket(Bucket="kept")
    client.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    store = open_store("s3://kept/raw")
    first = {name: world.noise.randbytes(size) for name, size in (("a", 3_000_000), ("b", 10), ("c", 10))}
    for name, data in first.items():
        store.put(name, data)
    world.record("s3://kept/raw")
    assert store.pin("a").version
    store.put("a", b"another")
    store.delete("b")
    repo = world.fresh()
    assert {name: repo.version("ext").read(name) for name in first} == first
    assert repo.verify("ext").ok and repo.verify("ext", quick=True).ok
    draft = repo.create("ext", parents="ext", workspace=world.root)
    report = draft.add_external("s3://kept/raw")
    assert (report.unchanged, report.read) == (1, 7)
    pinned = client.list_object_versions(Bucket="kept", Prefix="raw/c")["Versions"][0]["VersionId"]
    client.delete_object(Bucket="kept", Key="raw/c", VersionId=pinned)
    assert [path for path, _ in world.fresh().verify("ext", quick=True).findings] == ["c"]
    with pytest.raises(IntegrityError, match="raw/c was changed after it was recorded"):
        world.fresh().version("ext").read("c")
