"""The frozen repositories of formats 1 and 2: every release reads them, and so does a second reader."""

import shutil
from pathlib import Path

import golden_contents
import golden_reader
import pytest

import dataver
from dataver.errors import FormatTooNew, IntegrityError
from dataver.formats.pack import check_pack, parse_footer, rebuild_footer

FROZEN = Path(__file__).parent / "format1"
SMALL = Path(__file__).parent / "format2"
NUMBERS = Path(__file__).parent / "format1-numbers"
DIGESTS = {
    "1.0.0": "dv1:24e2a45d5062dfcfe5465416777e24f251f3592a863ca9aa7fd61bc8633f7901",
    "1.0.1": "dv1:a0f303b9329b6efadc5c5c46ea3b4e4d09c7ecec86b886e9f657a2a11af521ed",
    "2.0.0": "dv1:e36572df576b2d95e1be74b83db96a083a5396a13c2871769b89f0e9f5110601",
}
TREES = sorted(
    path.relative_to(FROZEN).as_posix() for path in (FROZEN / "trees").rglob("*") if path.is_file()
)
PACKS = sorted(
    path.relative_to(FROZEN).as_posix() for path in (FROZEN / "packs").rglob("*") if path.is_file()
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what is fetched to the test."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the frozen repository, to be damaged."""
    return Path(shutil.copytree(FROZEN, tmp_path / "copy"))


@pytest.mark.slow
@pytest.mark.parametrize("label", DIGESTS)
def test_a_second_reader_restores_it(label: str, tmp_path: Path) -> None:
    """What docs/format.md says is enough to read a repository."""
    golden_reader.restore(FROZEN, f"golden/set@{label}", tmp_path / "out")
    assert golden_contents.read(tmp_path / "out") == golden_contents.versions()[label]


def test_the_second_reader_is_independent_and_short() -> None:
    """It imports nothing of ours, and the format is simple enough for 170 lines."""
    text = Path(golden_reader.__file__).read_text("utf-8")
    assert "import dataver" not in text
    assert "from dataver" not in text
    assert len(text.splitlines()) <= 170


@pytest.mark.parametrize("label", DIGESTS)
def test_this_release_fetches_it(label: str, copy: Path, tmp_path: Path) -> None:
    """A repository of an old release is read as it is."""
    repository = dataver.open(copy)
    report = repository.fetch(f"golden/set@{label}", dest=tmp_path / "out")
    assert golden_contents.read(tmp_path / "out") == golden_contents.versions()[label]
    assert not report.problems
    version = repository.version(f"golden/set@{label}")
    assert version.digest == DIGESTS[label]
    assert (version.message, version.author) == (f"version {label}", "golden")
    assert version.metadata == {"made for": ["tests", 1.5]}


def test_its_names_resolve() -> None:
    """Tags, their removal, their history and the history of versions are read."""
    repository = dataver.open(FROZEN)
    assert repository.tagged("golden/set") == {"stable": "2.0.0"}
    assert [move.label for move in repository.tag_history("golden/set", "gone")] == ["1.0.1", None]
    assert repository.version("golden/set").label == "2.0.0"
    history = [[parent.label for parent in version.parents] for version in repository.versions("golden/set")]
    assert history == [[], ["1.0.0"], ["1.0.1"]]
    assert all(repository.verify(f"golden/set@{label}").ok for label in DIGESTS)


@pytest.mark.slow
def test_the_same_content_has_the_same_name_today(tmp_path: Path) -> None:
    """Made again by this release, each version has the digest that it had then, in whatever packs."""
    assert golden_contents.make(tmp_path / "again") == DIGESTS
    for label, contents in golden_contents.versions().items():
        golden_reader.restore(tmp_path / "again", f"golden/set@{label}", tmp_path / label)
        assert golden_contents.read(tmp_path / label) == contents


def test_its_blocks_are_of_every_kind() -> None:
    """The frozen trees have leaves and inner blocks, plain ones and deltas, and its frames both codecs."""
    flags = {(FROZEN / key).read_bytes()[8] for key in TREES}
    levels = {len(golden_reader.Repository(FROZEN).block(bytes.fromhex(key[-64:]))[1]) > 0 for key in TREES}
    codecs = set()
    for key in PACKS:
        data = (FROZEN / key).read_bytes()
        footer = parse_footer(data, bytes.fromhex(key[-64:]), len(data))
        codecs |= {data[offset] for offset in footer.frame_offsets[:-1]}
    assert (flags, levels, codecs) == ({0, 1}, {True, False}, {0, 1})


@pytest.mark.parametrize("key", PACKS)
def test_its_packs_survive_the_loss_of_their_footer(key: str) -> None:
    """Each frozen pack is whole, and walking its frames gives its footer again."""
    data, name = (FROZEN / key).read_bytes(), bytes.fromhex(key[-64:])
    footer = check_pack(data, name)
    assert rebuild_footer(data[: footer.frame_offsets[-1]], name).raw == footer.raw


SLOW = [pytest.param(damage, marks=pytest.mark.slow) for damage in ("cut", "empty", "lost")]


@pytest.mark.parametrize("damage", ["flip", *SLOW])
@pytest.mark.parametrize("key", [*TREES, *PACKS])
def test_damage_is_found_and_never_fetched(key: str, damage: str, copy: Path, tmp_path: Path) -> None:
    """Whatever happened to one object, `verify` finds it and no wrong byte is fetched (invariant 1)."""
    data = bytearray((copy / key).read_bytes())
    data[min(100, len(data) // 2)] ^= 4
    if damage == "lost":
        (copy / key).unlink()
    else:
        bad = {"flip": bytes(data), "cut": bytes(data[: len(data) // 2]), "empty": b""}[damage]
        (copy / key).write_bytes(bad)
    repository = dataver.open(copy)
    label = next(label for label in reversed(DIGESTS) if not sound(repository, label))
    with pytest.raises(dataver.DataverError):
        repository.fetch(f"golden/set@{label}", dest=tmp_path / "out")
    contents = golden_contents.versions()[label]
    if (tmp_path / "out").exists():
        got = golden_contents.read(tmp_path / "out")
        assert all(value is None or contents[path] == value for path, value in got.items())


def sound(repository: dataver.Repository, label: str) -> bool:
    """Tell whether `verify` finds nothing wrong with a version."""
    try:
        return repository.verify(f"golden/set@{label}").ok
    except dataver.DataverError:
        return False


def test_a_damaged_record_is_refused(copy: Path) -> None:
    """A record that was changed is not used, and the chain of records tells a forged one."""
    record = copy / "datasets/golden/set/versions/1.0.0.json"
    record.write_bytes(record.read_bytes().replace(b'"size":', b'"size":x'))
    with pytest.raises(IntegrityError):
        dataver.open(copy).version("golden/set@1.0.0")
    forged = (
        (FROZEN / "datasets/golden/set/versions/1.0.0.json")
        .read_bytes()
        .replace(b"version 1.0.0", b"version 1.0.9")
    )
    record.write_bytes(forged)
    with pytest.raises(AssertionError, match="record"):
        golden_reader.Repository(copy).record("golden/set", "2.0.0")


def test_a_newer_repository_is_refused(copy: Path) -> None:
    """The message names both format numbers."""
    config = copy / "dataver.json"
    config.write_bytes(config.read_bytes().replace(b'"format":1', b'"format":3'))
    with pytest.raises(FormatTooNew, match=r"format 3.*up to 2"):
        dataver.open(copy)


def test_format_2_is_frozen_too(tmp_path: Path) -> None:
    """Both readers read it, a deleted version and removed tags included; each JSON object has a checksum."""
    repository = dataver.open(shutil.copytree(SMALL, tmp_path / "copy"))
    for label in ("1.0.0", "1.0.1"):
        golden_reader.restore(SMALL, f"golden/set@{label}", tmp_path / "second" / label)
        repository.fetch(f"golden/set@{label}", dest=tmp_path / "out" / label)
        for reader in ("second", "out"):
            assert golden_contents.read(tmp_path / reader / label) == golden_contents.small()[label]
        assert repository.verify(f"golden/set@{label}").ok
    assert [move.label for move in repository.tag_history("golden/set", "stable")] == ["1.0.0", "1.0.2", None]
    with pytest.raises(dataver.errors.NotFound, match="deleted"):
        repository.version("golden/set@1.0.2")
    objects = [path for path in SMALL.rglob("*") if path.suffix in (".json", ".tombstone")]
    assert [golden_reader.summed(path.read_bytes())["format"] for path in objects] == [2] * 9


def test_the_other_codecs_are_frozen_too(tmp_path: Path) -> None:
    """Frames of bytes grouped by 2, 4 and 8, written when they were new, are read by both readers."""
    repository = dataver.open(shutil.copytree(NUMBERS, tmp_path / "copy"))
    codecs = set()
    for key in (NUMBERS / "packs").rglob("*"):
        if key.is_file():
            data, name = key.read_bytes(), bytes.fromhex(key.name)
            footer = check_pack(data, name)
            assert rebuild_footer(data[: footer.frame_offsets[-1]], name).raw == footer.raw
            codecs |= {data[offset] for offset in footer.frame_offsets[:-1]}
    assert codecs == {2, 4, 8}
    for label, contents in golden_contents.numbers().items():
        golden_reader.restore(NUMBERS, f"golden/numbers@{label}", tmp_path / "second" / label)
        assert golden_contents.read(tmp_path / "second" / label) == contents
        repository.fetch(f"golden/numbers@{label}", dest=tmp_path / "out" / label)
        assert golden_contents.read(tmp_path / "out" / label) == contents
