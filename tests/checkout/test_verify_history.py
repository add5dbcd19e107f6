"""Records vouch for their parents; what was replaced, miscounted or flipped in a dataset's names is seen."""

import dataclasses

import pytest

import dataver
from dataver.errors import DataverError, IntegrityError
from dataver.formats.record import parse_record

from .conftest import write


@pytest.fixture
def three(world):
    """Three versions of a dataset, one deleted, and a tag; the paths of its JSON objects."""
    for number in range(3):
        write(world.source / "f", f"{number}")
        world.version(parents=[f"some/data@1.0.{number - 1}"] if number else [])
    world.repo.tag("some/data@1.0.1", "prod")
    world.repo.delete("some/data@1.0.2")
    return world


def rewrite(world, label, **changes):
    """Replace a record by one that is as well-formed, with a checksum that is right."""
    path = world.root / f"repo/datasets/some/data/versions/{label}.json"
    path.chmod(0o644)
    path.write_bytes(dataclasses.replace(parse_record(path.read_bytes()), **changes).encode())


def reopened(world):
    return dataver.open(world.root / "repo")


def test_a_sound_history_has_no_findings(three):
    """Parents, children, deleted ones, tags: all as they were written."""
    for label in ("1.0.0", "1.0.1"):
        assert reopened(three).verify(f"some/data@{label}").ok


@pytest.mark.parametrize("changes", [{"message": "forged", "author": "eve"}, {"files": 2}])
def test_a_replaced_record_is_seen_beside_its_child(three, changes):
    """Whoever reads both is told, in either order; `verify` of either reads both."""
    rewrite(three, "1.0.0", **changes)
    for label in ("1.0.0", "1.0.1"):
        report = reopened(three).verify(f"some/data@{label}")
        assert any("1.0.1 was made from" in what for _, what in report.findings), report.findings
    for old, new in (("1.0.0", "1.0.1"), ("1.0.1", "1.0.0")):
        with pytest.raises(IntegrityError, match="was made from"):
            reopened(three).diff(f"some/data@{old}", f"some/data@{new}")
    with pytest.raises(IntegrityError, match="was made from"):
        reopened(three).versions("some/data")


def test_a_record_that_miscounts_its_tree_is_refused_by_all(three):
    """`verify` names both numbers; no reader takes the tree for that version's."""
    rewrite(three, "1.0.1", size=10**12)
    report = reopened(three).verify("some/data@1.0.1")
    assert any("1000000000000 bytes" in what for _, what in report.findings)
    for read in (
        lambda repo: repo.fetch("some/data@1.0.1", dest=three.root / "out"),
        lambda repo: list(repo.version("some/data@1.0.1").entries()),
        lambda repo: repo.version("some/data@1.0.1").read("f"),
    ):
        with pytest.raises(IntegrityError, match="does not match"):
            read(reopened(three))


@pytest.mark.parametrize(
    "key",
    [
        "dataver.json",
        "datasets/some/data/versions/1.0.0.json",
        "datasets/some/data/versions/1.0.1.json",
        "datasets/some/data/versions/1.0.2.tombstone",
        "datasets/some/data/tags/prod/00000001.json",
    ],
)
@pytest.mark.parametrize("step", [211, pytest.param(1, marks=pytest.mark.slow)])
def test_no_flipped_bit_of_a_json_object_goes_unseen(three, key, step):
    """`verify` of the version at the other end of the dataset sees each, or cannot even begin."""
    path = three.root / "repo" / key
    path.chmod(0o644)
    good = path.read_bytes()
    for bit in range(0, 8 * len(good), step):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bad)
        try:
            assert not reopened(three).verify("some/data@1.0.1", quick=True).ok, bit
        except DataverError:
            pass
    path.write_bytes(good)
