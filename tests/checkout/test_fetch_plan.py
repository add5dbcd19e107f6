"""Plans of fetches and uploads: what they say is what then happens, and nothing moves for them."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

import dataver
from dataver.errors import PathNotFound
from dataver.machine.speeds import recent_rate, record_transfer
from servers import Server
from servers.proxy import FaultyNetwork

_CHANCE = random.Random(5)


@pytest.fixture
def network(moto_server: Server) -> Iterator[FaultyNetwork]:
    """A wire to moto that counts requests."""
    with FaultyNetwork(moto_server.endpoint, lambda _seen: None) as network:
        yield network


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two hundred small files and two large ones, one of them longer than a read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(200):
        (folder / f"{number:03}.txt").write_bytes(_CHANCE.randbytes(2_000))
    (folder / "a.bin").write_bytes(_CHANCE.randbytes(20_000_000))
    (folder / "b.bin").write_bytes(_CHANCE.randbytes(1_000_000))
    return folder


def _packs_read(network: FaultyNetwork, since: int) -> int:
    return sum(one.method == "GET" and "/packs/" in one.path for one in network.seen[since:])


def test_a_fetch_moves_what_its_plan_says(
    moto_server: Server, network: FaultyNetwork, photos: Path, tmp_path: Path
) -> None:
    """Bytes and requests of the plan are those of the fetch: of all, of a part, of a child; then nothing."""
    options = moto_server.options | {"endpoint_url": network.endpoint}
    repo = dataver.init(moto_server.url(f"plan/{tmp_path.name}"), storage_options=options)
    repo.sync(photos, "vision/cats")
    with (photos / "a.bin").open("r+b") as file:
        file.seek(9_000_000)
        file.write(_CHANCE.randbytes(400_000))
    (photos / "new.txt").write_bytes(b"new" * 1000)
    repo.sync(photos, "vision/cats")
    for ref, paths in (
        ("vision/cats@1.0.0", ["b.bin"]),
        ("vision/cats@1.0.0", None),
        ("vision/cats@1.0.1", None),
    ):
        plan = repo.plan_fetch(ref, include=paths, measure=False)
        before = len(network.seen)
        report = repo.fetch(ref, include=paths)
        assert (plan.files, plan.size) == (report.files, report.size)
        assert (plan.transferred, plan.reused) == (report.transferred, report.reused)
        assert plan.requests == _packs_read(network, before)
        assert plan.transferred > 0
    assert plan.transferred < 2_000_000 < plan.reused
    again = repo.plan_fetch("vision/cats@1.0.1")
    assert (again.transferred, again.requests, again.seconds, again.reused) == (0, 0, 0.0, again.size)


def test_an_own_copy_is_compared(photos: Path, tmp_path: Path) -> None:
    """What `dest` has is not moved, and what differs there is counted."""
    repo = dataver.init(tmp_path / "repo")
    repo.sync(photos, "vision/cats")
    dest = tmp_path / "work"
    dest.mkdir()
    (dest / "b.bin").write_bytes((photos / "b.bin").read_bytes())
    plan = repo.plan_fetch("vision/cats", dest=dest)
    assert (plan.reused_files, plan.reused, plan.differing) == (1, 1_000_000, 0)
    report = repo.fetch("vision/cats", dest=dest)
    assert plan.transferred == report.transferred
    (dest / "a.bin").write_bytes(b"other")
    assert repo.plan_fetch("vision/cats", dest=dest).differing == 1
    with pytest.raises(PathNotFound):
        repo.plan_fetch("vision/cats", include="*.jpg")


def test_an_upload_sends_what_its_plan_says(
    moto_server: Server, network: FaultyNetwork, photos: Path, tmp_path: Path
) -> None:
    """Packs, blocks and bytes are exact, requests within a few; afterwards nothing is left to do."""
    options = moto_server.options | {"endpoint_url": network.endpoint}
    repo = dataver.init(moto_server.url(f"plan/{tmp_path.name}"), storage_options=options)
    draft = repo.create("vision/cats")
    draft.add(photos)
    draft.finalize("all")
    plan = draft.plan_upload()
    assert not plan.already
    assert not any(one.method == "PUT" and "/packs/" in one.path for one in network.seen)
    before = len(network.seen)
    report = draft.upload()
    assert (plan.packs, plan.blocks, plan.transferred) == (report.packs, report.blocks, report.size)
    assert abs(len(network.seen) - before - plan.requests) <= 2
    done = draft.plan_upload()
    assert (done.already, done.transferred, done.requests) == (True, 0, 0)


def test_the_expected_time_is_what_was_seen_before(photos: Path, tmp_path: Path) -> None:
    """Without a memory a read is measured, or it is not known; then the last transfers are reckoned with."""
    repo = dataver.init(tmp_path / "repo")
    draft = repo.create("vision/cats")
    draft.add(photos)
    draft.finalize("all")
    assert (draft.plan_upload().seconds, draft.plan_upload().speed) == (None, None)
    draft.upload()
    assert recent_rate(repo._core.local_name, "upload") is not None
    unknown = repo.plan_fetch("vision/cats", measure=False)
    assert (unknown.seconds, unknown.speed) == (None, None)
    measured = repo.plan_fetch("vision/cats").speed
    assert measured is not None
    assert "just now" in measured.source
    repo.fetch("vision/cats", dest=tmp_path / "out")
    remembered = repo.plan_fetch("vision/cats").speed
    assert remembered is not None
    assert "the last transfer," in remembered.source
    for _ in range(6):
        record_transfer(repo._core.local_name, "fetch", 50_000_000, 10.0)
    plan = repo.plan_fetch("vision/cats")
    assert plan.speed is not None
    assert plan.speed.speed == 5_000_000
    assert plan.seconds == plan.transferred / 5_000_000
    record_transfer(repo._core.local_name, "fetch", 10, 100.0)  # tells nothing of the speed
    assert repo.plan_fetch("vision/cats").speed == plan.speed
