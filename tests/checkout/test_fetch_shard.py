"""Shards of a version: each reader's part, on this machine once, whoever else asks for it."""

import multiprocessing
import os

import pytest

import dataver
from dataver.checkout import verify_folder
from dataver.checkout.cache_verifier import verify_cache
from dataver.checkout.distributed_rank import as_shard, node_shard, rank_shard
from dataver.checkout.fetch_plan import plan_fetch
from dataver.errors import InvalidInput, PathNotFound
from dataver.tree import Selection
from dataver.tree.shard import Shard
from servers.proxy import FaultyNetwork

from .conftest import contents


def shard(*ranks, world):
    return Shard.of((ranks, world))


def test_the_shards_of_a_version_are_the_version(filled):
    """Every entry is in one shard, links and empty folders too, and none is in two."""
    version, everything = filled.version(), {}
    for rank in range(3):
        report = filled.fetch(version, shard=shard(rank, world=3))
        found = contents(report.path)
        assert report.files == sum(isinstance(what, bytes) for what in found.values())
        assert not everything.keys() & found.keys()
        everything |= found
    assert everything == contents(filled.source)
    assert len({folder.path for folder in filled.cache.folders()}) == 3


def test_several_ranks_are_what_each_of_them_gets(filled):
    """A node's folder holds the parts of its ranks and nothing else."""
    version = filled.version()
    one, two = (contents(filled.fetch(version, shard=shard(rank, world=4)).path) for rank in (1, 2))
    both = filled.fetch(version, shard=shard(1, 2, world=4))
    assert contents(both.path) == one | two
    assert both.transferred == 0


def test_globs_choose_first_and_what_they_choose_is_split(filled):
    """Shards of a selection are the selection, and another folder of the cache."""
    version = filled.version()
    parts = [filled.fetch(version, patterns=["tiny"], shard=shard(rank, world=2)) for rank in (0, 1)]
    assert parts[0].path != filled.fetch(version, shard=shard(0, world=2)).path
    found = contents(parts[0].path) | contents(parts[1].path)
    assert found == {path: what for path, what in contents(filled.source).items() if path.startswith("tiny/")}
    assert min(part.files for part in parts) > 20


def test_a_shard_of_a_cached_version_moves_nothing_and_is_ready_the_next_time(filled):
    """Files are linked from the whole; the second time no block is read."""
    version = filled.version()
    whole = filled.fetch(version)
    part = filled.fetch(version, shard=shard(0, world=2))
    assert part.transferred == 0
    name = next(path for path, what in contents(part.path).items() if isinstance(what, bytes) and what)
    assert (part.path / name).samefile(whole.path / name)
    for folder in ("packs", "trees"):
        (filled.root / "repo" / folder).rename(filled.root / folder)
    assert filled.fetch(version, shard=shard(0, world=2)).path == part.path


def test_shards_fill_one_folder_of_ones_own(filled, tmp_path):
    """Fetched one after the other into a folder, they make the version."""
    version = filled.version()
    for rank in range(2):
        filled.fetch(version, dest=tmp_path / "own", shard=shard(rank, world=2))
    assert verify_folder(filled.repo._core, version.tree.digest, tmp_path / "own").ok


def test_more_readers_than_entries_leave_some_with_nothing(filled):
    """A share of nothing is an empty folder; globs that match nothing are still refused."""
    version = filled.version()
    reports = [filled.fetch(version, patterns=["middle"], shard=shard(rank, world=9)) for rank in range(9)]
    assert sum(report.files for report in reports) == 4
    assert min(report.files for report in reports) == 0
    with pytest.raises(PathNotFound):
        filled.fetch(version, patterns=["*.jpg"], shard=shard(0, world=2))


def test_the_plan_is_what_the_fetch_does(filled):
    """Files, bytes and what moves are those of the fetch that follows."""
    version = filled.version()
    options = {"cache": filled.cache, "selection": Selection(shard=shard(1, world=2))}
    plan = plan_fetch(filled.repo._core, version.tree.digest, measure=False, **options)
    report = filled.fetch(version, shard=shard(1, world=2))
    assert (plan.files, plan.size, plan.transferred) == (report.files, report.size, report.transferred)
    assert plan_fetch(filled.repo._core, version.tree.digest, measure=False, **options).transferred == 0


def test_the_cache_is_verified_shard_by_shard(filled):
    """What a cached shard should hold is known, and what is wrong in it is replaced."""
    report = filled.fetch(filled.version(), shard=shard(0, world=2))
    victim = next(path for path in report.path.rglob("*") if path.is_file() and path.stat().st_size)
    before = victim.stat()
    victim.chmod(0o644)
    victim.write_bytes(b"?" * before.st_size)
    os.utime(victim, ns=(before.st_atime_ns, before.st_mtime_ns))
    check = verify_cache(filled.cache, lambda _folder: filled.repo._core)
    assert (check.folders, check.files, len(check.repaired)) == (1, report.files, 1)


TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
SLURM = {"SLURM_PROCID": "3", "SLURM_NTASKS": "6", "SLURM_LOCALID": "1", "SLURM_GTIDS": "1,3,5"}
MPI = {
    "OMPI_COMM_WORLD_RANK": "2",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "0",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
}


@pytest.mark.parametrize(
    ("environment", "rank", "node"),
    [
        ({}, "0/1", "0/1"),
        (TORCHRUN, "5/8", "4,5,6,7/8"),
        (SLURM, "3/6", "1,3,5/6"),
        (SLURM | TORCHRUN, "5/8", "4,5,6,7/8"),
        (MPI, "2/4", "2,3/4"),
        ({"RANK": "1", "WORLD_SIZE": "2"}, "1/2", "1/2"),
        ({"RANK": "1"}, "0/1", "0/1"),
    ],
)
def test_launchers_tell_who_this_is(environment, rank, node):
    """torchrun, Slurm and Open MPI; torchrun first, since Slurm may have started it."""
    assert str(rank_shard(environment)) == rank
    assert str(node_shard(environment)) == node


@pytest.mark.parametrize(
    "environment",
    [{"RANK": "x", "WORLD_SIZE": "2"}, {"RANK": "2", "WORLD_SIZE": "2"}, SLURM | {"SLURM_GTIDS": "1-3"}],
)
def test_what_launchers_cannot_mean_is_refused(environment):
    """A rank outside the world is an error, not a silent whole."""
    with pytest.raises(InvalidInput):
        node_shard(environment)


def test_all_there_is_is_no_shard(monkeypatch):
    """Alone, "rank" and "node" mean everything: a script runs on a laptop as it is."""
    for name in (*TORCHRUN, *SLURM, *MPI):
        monkeypatch.delenv(name, raising=False)
    assert as_shard("rank") is as_shard("node") is as_shard((0, 1)) is as_shard(None) is None
    with pytest.raises(InvalidInput):
        as_shard("host")


def _rank_fetches(url, options, local, start, results):
    os.environ |= {"RANK": str(local), "WORLD_SIZE": "8", "LOCAL_RANK": str(local), "LOCAL_WORLD_SIZE": "4"}
    repo = dataver.open(url, storage_options=options)
    start.wait()
    report = repo.fetch("some/data", shard="node")
    results.put((report.path, report.transferred, report.files))


@pytest.mark.servers
@pytest.mark.parametrize("ranks", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_the_processes_of_a_node_share_one_download(filled, moto_server, monkeypatch, ranks):
    """The ranks of one machine ask for the node's part: one reads packs, as often as one alone would."""
    monkeypatch.setenv("DATAVER_CACHE", str(filled.root / "alone"))
    url = moto_server.url(f"shards/{ranks}")
    repo = dataver.init(url, storage_options=moto_server.options)
    repo.sync(filled.source, "some/data", workspace=filled.root)
    counts = []
    context = multiprocessing.get_context("spawn")
    for processes in (1, ranks):
        monkeypatch.setenv("DATAVER_CACHE", str(filled.root / f"machine{processes}"))
        with FaultyNetwork(moto_server.endpoint, lambda _: None) as network:
            options = moto_server.options | {"endpoint_url": network.endpoint}
            start, results = context.Barrier(processes), context.Queue()
            found = [
                context.Process(target=_rank_fetches, args=(url, options, local, start, results))
                for local in range(processes)
            ]
            for process in found:
                process.start()
            reports = [results.get(timeout=120) for _ in found]
            for process in found:
                process.join()
            assert [process.exitcode for process in found] == [0] * processes
            asked = [seen for seen in network.seen if "/packs/" in seen.path]
            counts.append(len(asked))
        assert len({path for path, _, _ in reports}) == 1
        assert sum(bool(moved) for _, moved, _ in reports) == 1
    assert counts[0] == counts[1] > 0
    whole = contents(filled.source)
    part = contents(reports[0][0])
    assert part.items() <= whole.items()
    assert 0 < len(part) < len(whole)
