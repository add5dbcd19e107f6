"""Between a folder and real S3 servers, both ways, and between two servers."""

import secrets

import pytest

import dataver

from .conftest import contents


@pytest.fixture
def local(world, tmp_path):
    """A repository in a folder, with three versions and a tag."""
    repository = dataver.init(tmp_path / "local")
    for number in range(12):
        world.write(f"{number:02d}", 40_000)
    world.publish("vision/cats", repository)
    world.write("new", 30_000)
    world.publish("vision/cats", repository)
    (world.folder / "05").unlink()
    world.publish("vision/cats", repository)
    repository.tag("vision/cats@1.0.1", "production")
    return repository


def test_a_folder_goes_to_a_bucket_and_back(local, world, s3_server, tmp_path, monkeypatch):
    """Everything comes back byte by byte, from servers that honour conditions and one that does not."""
    url = s3_server.url(f"moving/{secrets.token_hex(6)}")
    report = dataver.mirror(local, url, target_options=s3_server.options, verify=True)
    assert report.problems == []
    assert len(report.versions) == 3
    remote = dataver.open(url, storage_options=s3_server.options)
    assert remote._core.config.create_if_absent == s3_server.exclusive
    assert remote.id != local.id
    again = dataver.mirror(local, remote)
    assert (again.size, again.there) == (0, 3)
    back = dataver.mirror(remote, tmp_path / "back", verify=True)
    assert back.problems == []
    for kind in ("packs", "trees", "datasets"):
        assert contents(tmp_path / "back" / kind) == contents(tmp_path / "local" / kind)
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "elsewhere"))
    assert contents(dataver.open(tmp_path / "back").fetch("vision/cats").path) == contents(world.folder)


@pytest.mark.servers
def test_between_two_servers_a_version_costs_what_is_new(local, world, seaweedfs_server, moto_server):
    """From SeaweedFS to moto: the second push moves one pack; the tag points where it did."""
    ends = []
    for server in (seaweedfs_server, moto_server):
        url = server.url(f"moving/{secrets.token_hex(6)}")
        ends.append(dataver.init(url, storage_options=server.options))
    local.push(ends[0])
    assert ends[0].push(ends[1], "vision/cats", verify=True).problems == []
    world.write("newer", 25_000)
    world.publish("vision/cats", ends[0])
    report = ends[1].pull(ends[0], "vision/cats", verify=True)
    assert report.problems == []
    assert (report.packs, len(report.versions), report.there) == (1, 1, 3)
    assert report.size < 40_000
    assert ends[1].version("vision/cats@production").label == "1.0.1"
