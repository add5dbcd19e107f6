"""From what a person types to one version, or to a sentence that helps."""

import itertools

import pytest

import dataver
from dataver.errors import InvalidInput, NotFound
from dataver.formats.entry import Entry, Extent, Kind
from dataver.hashing import digest
from dataver.tree import build


def test_every_way_to_name_a_version(world):
    """A name alone, a label, a tag, `latest` and a digest all find their version."""
    first = world.publish("vision/cats", "1.0.0")
    second = world.publish("vision/cats", "1.0.1")
    world.repo.tag("vision/cats@1.0.0", "production")
    version = world.repo.version
    assert version("vision/cats") == version("vision/cats@latest") == second
    assert version("vision/cats@1.0.0") == version("vision/cats@production") == first
    assert (
        version(first.digest)
        == version(first.digest[:14])
        == version("dv1:" + first.digest[4:20].upper())
        == first
    )


def test_latest_is_the_highest_number_not_the_last_in_the_alphabet(world):
    """`1.10.0` is above `1.9.0`, which was published later."""
    for label in ("1.10.0", "1.9.0", "0.99.99"):
        world.publish("d", label)
    assert world.repo.version("d").label == "1.10.0"


def test_latest_of_labels_without_numbers_is_the_youngest(world):
    """Where no label is semantic, the version that was made last is meant."""
    for label in ("july", "august", "autumn"):
        world.publish("d", label)
    assert world.repo.version("d@latest").label == "autumn"


def test_latest_of_dates_and_numbers_is_the_youngest(world):
    """One automatic label takes `latest` from the dates for no longer than until the next date."""
    for label in ("2026-09-30", None, "2026-10-01"):
        published = world.publish("d", label)
        assert world.repo.version("d").label == published.label
        assert [each.latest.label for each in world.repo.datasets()] == [published.label]
    world.publish("d", "0.9.0")  # lower than 1.0.0, so it belongs to an older line
    assert world.repo.version("d").label == "2026-10-01"


def test_a_label_is_found_before_a_tag_and_names_are_exact(world):
    """A dataset whose name begins like another is another one."""
    world.publish("vision/cats", "1.0.0")
    world.publish("vision/cats/small", "2.0.0")
    assert world.repo.version("vision/cats").label == "1.0.0"
    assert world.repo.version("vision/cats/small").label == "2.0.0"
    assert list(world.repo._core.records.datasets("vision/cats")) == ["vision/cats", "vision/cats/small"]
    for name in ("vision", "vision/cat", "vision/cats/smal"):
        with pytest.raises(NotFound, match=f"no dataset '{name}'"):
            world.repo.version(name)


@pytest.mark.parametrize(
    ("ref", "message", "hint"),
    [
        ("vision/cat", "no dataset 'vision/cat' in memory:test", "did you mean vision/cats"),
        ("entirely-else", "no dataset 'entirely-else'", "existing: text/words, vision/cats"),
        ("vision/cats@1.0.7", "no version or tag '1.0.7'", "did you mean 1.0.0"),
        ("vision/cats@prodution", "no version or tag 'prodution'", "did you mean production"),
        ("vision/cats@qqq", "no version or tag 'qqq'", "existing: 1.0.0, 2.0.0, production"),
        ("dv1:" + "0" * 64, "digest that starts with dv1:0000", "dataver list"),
    ],
)
def test_what_is_not_there_is_named_and_the_nearest_is_suggested(world, ref, message, hint):
    """The message says what was looked for and where, the hint what comes near."""
    world.publish("vision/cats", "1.0.0")
    world.publish("vision/cats", "2.0.0")
    world.publish("text/words", "1.0.0")
    world.repo.tag("vision/cats@1.0.0", "production")
    with pytest.raises(NotFound) as caught:
        world.repo.version(ref)
    assert message in str(caught.value)
    assert hint in caught.value.hint


def test_an_empty_repository_says_how_to_start(world):
    """Without any dataset the hint is the command that makes one."""
    with pytest.raises(NotFound) as caught:
        world.repo.version("vision/cats")
    assert "dataver create" in caught.value.hint


@pytest.mark.parametrize(
    "ref",
    ["", "@1.0.0", "d@", "d@a b", "../d", "d@../x", "d@1.0.0@2.0.0", "d/versions", "d@a/b", "d\n", "d@\x00"],
)
def test_what_cannot_be_a_reference_is_refused_or_not_found(world, ref):
    """No text reaches the store as a strange key, and none makes another kind of error."""
    world.publish("d", "1.0.0")
    with pytest.raises((InvalidInput, NotFound)):
        world.repo.version(ref)


@pytest.mark.parametrize("ref", ["dv1:", "dv1:abc", "dv1:xyzw", "dv1:" + "0" * 65, "dv1:12 4"])
def test_a_digest_that_is_too_short_too_long_or_no_digest_is_refused(world, ref):
    """At least four hexadecimal characters, at most 64."""
    with pytest.raises(InvalidInput, match="4 to 64 hexadecimal"):
        world.repo.version(ref)


def twins():
    """Return two contents of `file` whose trees' digests begin with the same four characters."""
    seen = {}
    for number in itertools.count():
        data = f"content {number}".encode()
        extent = Extent(bytes(32), 8, 100, 0, len(data))
        entry = Entry("file", Kind.FILE, len(data), digest(data), "", (extent,))
        name = build([entry], lambda _: None).digest
        if name[:2] in seen:
            return seen[name[:2]].decode(), data.decode()
        seen[name[:2]] = data
    raise AssertionError


def test_an_ambiguous_digest_names_what_it_fits(world):
    """Two contents behind one prefix are listed with enough of their digests to choose."""
    one, other = twins()
    first = world.publish("a", "1.0.0", one)
    second = world.publish("b", "3.0.0", other)
    assert first.digest[:8] == second.digest[:8] and first.digest != second.digest
    with pytest.raises(InvalidInput, match="ambiguous") as caught:
        world.repo.version(first.digest[:8])
    for version in (first, second):
        assert f"{version.ref} ({version.digest[:16]})" in str(caught.value)
    assert world.repo.version(first.digest[:20]) == first


def test_one_content_under_several_names_is_not_ambiguous(world):
    """The same bytes in two datasets are one digest; the youngest name is given."""
    first = world.publish("a", "1.0.0", "same")
    second = world.publish("b", "1.0.0", "same")
    assert first.digest == second.digest
    assert world.repo.version(first.digest[:12]).ref == "b@1.0.0"


def test_a_version_at_hand_is_a_reference(tmp_path, monkeypatch):
    """Where a name is taken, a version is; not one of another repository, and none that is not published."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").write_text("one")
    repo, other = dataver.init(tmp_path / "repo"), dataver.init(tmp_path / "other")
    version = repo.sync(tmp_path / "source", "d", workspace=tmp_path).version
    (tmp_path / "source" / "a").write_text("two")
    second = repo.sync(tmp_path / "source", "d", workspace=tmp_path).version
    assert repo.version(version) == version
    assert (repo.fetch(version).path / "a").read_text() == "one"
    assert dataver.fetch(version, repo=repo, dest=tmp_path / "out").path.name == "out"
    assert repo.files(version).read("a") == b"one"
    assert len(repo.diff(version, second).modified) == 1
    assert repo.verify(version).ok
    assert repo.tag(version, "first") == version
    other.sync(tmp_path / "source", "d", workspace=tmp_path / "there")
    with pytest.raises(NotFound, match="not the version that was passed"):
        other.fetch(version)
    draft = repo.create("d", parents=version, workspace=tmp_path)
    draft.add(tmp_path / "source")
    with pytest.raises(InvalidInput, match="not published"):
        repo.version(draft.finalize())
    repo.delete(second)
    with pytest.raises(NotFound):
        repo.version(second)
