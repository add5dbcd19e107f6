"""Names that lead out, cannot be shown, or that some systems cannot hold."""

import os
import unicodedata
from datetime import UTC, datetime

import pytest

from dataver.errors import IntegrityError, InvalidInput
from dataver.formats import block as blocks
from dataver.formats.entry import Entry, Kind
from dataver.formats.record import Record
from dataver.hashing import digest
from dataver.hashing.digest import CONTEXT_BLOCK, derived
from dataver.repository.layout import block_key, record_key

from .conftest import contents

OUT = [
    "../evil",
    "/evil..",
    "a/../../evil",
    "a//evil",
    "evil/.",
    "a\0evil",
    "a\nevil\n",
    "\x1b[2Jevil",
    "a\\..\\evil",
    ".dataver/e",
]


def forge(repo, path):
    """Publish a version, past every check, whose tree holds `path`."""
    blank = "x" * len(path.encode())
    entry = Entry(blank, Kind.FILE, 0, digest(b""), "", ())
    logical = blocks.encode_leaf([entry]).logical.replace(blank.encode(), path.encode())
    forged = blocks.pack_block(logical, blocks.encode_layout([entry]), None, None)
    assert forged.digest == derived(CONTEXT_BLOCK, logical)
    repo._core.store.put_new(block_key(forged.digest), forged.data)
    record = Record(
        dataset="evil",
        label="1.0.0",
        tree=forged.digest,
        parents=(),
        created=datetime.now(UTC),
        author="mallory",
        message="",
        files=1,
        size=0,
        entries=1,
        metadata={},
        tool="forge",
        write_id="0" * 32,
    )
    repo._core.store.create(record_key("evil", "1.0.0"), record.encode())


@pytest.mark.parametrize("path", OUT)
def test_a_forged_version_cannot_write_outside_its_folder(repo, tmp_path, path):
    """A tree with such a path, right digests and all, is damage: nothing is written, verify finds it."""
    forge(repo, path)
    before = sorted(each for each in tmp_path.rglob("*") if "cache" not in each.parts)
    with pytest.raises(IntegrityError, match="tree block"):
        repo.fetch("evil", dest=tmp_path / "target" / "deep")
    with pytest.raises(IntegrityError):
        repo.fetch("evil")
    with pytest.raises(IntegrityError):
        list(repo.version("evil").entries())
    assert not repo.verify("evil").ok
    after = sorted(each for each in tmp_path.rglob("*") if "cache" not in each.parts)
    assert [each for each in after if each not in before and each != tmp_path / "target"] == []


@pytest.mark.parametrize(
    "path", ["../up", "/etc/x", "a/../../b", "a\0b", "a\nb", "a\x7fb", "a\\b", "", ".git/x", "x" * 300]
)
def test_no_command_puts_such_a_path_into_a_draft(repo, source, path):
    """Adding below it and moving to it are refused, and the draft stays as it was."""
    draft = repo.create("d")
    draft.add(source / "00")
    if path and path != "/etc/x":
        with pytest.raises(InvalidInput):
            draft.add(source, dest=path)
    if path != "/etc/x":  # a leading slash is the version's root here
        with pytest.raises(InvalidInput):
            draft.move("00", path)
    assert [entry.path for entry in draft.tree.iterate()] == ["00"]


def test_names_are_bytes_to_us_and_come_back_as_they_were(repo, tmp_path):
    """Spaces, quotes, wildcards, dashes, emoji, right-to-left and both Unicode forms are just names."""
    names = [
        "-rf",
        " lead",
        "a b",
        "it's",
        '"q"',
        "*.jpg",
        "[1]",
        "~",
        "$HOME",
        "%41",
        "😀",
        "שלום",
        "a:b",
        "#x",
        "!y",
    ]
    names += [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    (tmp_path / "odd").mkdir()
    for number, name in enumerate(names):
        (tmp_path / "odd" / name).write_text(str(number))
    version = repo.sync(tmp_path / "odd", "d").version
    assert contents(repo.fetch("d").path) == contents(tmp_path / "odd")
    assert {name: version.read(name) for name in names} == contents(tmp_path / "odd")
    assert repo.verify_folder("d", tmp_path / "odd").ok


def test_names_that_some_systems_cannot_hold_are_warned_of(repo, tmp_path):
    """A sealed version tells them, each with its reason; nothing is refused for it."""
    odd = tmp_path / "odd"
    (odd / "Folder").mkdir(parents=True)
    (odd / "folder").mkdir()
    names = [
        "CON",
        "nul.txt",
        "COM1",
        "dot.",
        "space ",
        "a:b",
        "what?",
        "Readme",
        "README",
        "Folder/x",
        "folder/y",
        "fine.txt",
    ]
    for name in [*names, "café", unicodedata.normalize("NFD", "café")]:
        (odd / name).write_text("x")
    draft = repo.create("d")
    assert draft.add(odd).problems == []
    told = dict(draft.finalize().portability())
    assert {"CON", "nul.txt", "COM1"} <= {
        name for name, why in told.items() if "reserved name on Windows" in why
    }
    assert {"dot.", "space "} == {name for name, why in told.items() if "Windows drops" in why}
    assert {"a:b", "what?"} == {name for name, why in told.items() if "does not allow" in why}
    twins = [name for name, why in told.items() if "only in case or Unicode form" in why]
    assert sorted(unicodedata.normalize("NFC", name) for name in twins) == ["Readme", "café", "folder"]
    assert not told.keys() & {"fine.txt", "Folder/x", "folder/y"}
    assert draft.upload().version.portability() == list(told.items())


@pytest.mark.parametrize(
    ("one", "other", "folds"),
    [
        ("Readme", "README", str.casefold),
        ("Data/a", "data/b", str.casefold),
        ("caf\u00e9", "cafe\u0301", lambda name: unicodedata.normalize("NFC", name)),
    ],
)
def test_twins_are_refused_where_the_file_system_cannot_hold_both(
    repo, tmp_path, monkeypatch, one, other, folds
):
    """Both are named before anything is written; a selection without the clash is fetched."""
    for name in (one, other):
        (tmp_path / "odd" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "odd" / name).write_text(name)
    repo.sync(tmp_path / "odd", "d")
    assert contents(repo.fetch("d", dest=tmp_path / "exact").path) == contents(tmp_path / "odd")
    monkeypatch.setattr("dataver.checkout.fetching.folding_of", lambda folder: folds)
    for dest in (None, tmp_path / "target"):
        with pytest.raises(InvalidInput, match="the same name") as caught:
            repo.fetch("d", dest=dest)
        for name in (one.split("/")[0], other.split("/")[0]):
            assert name in str(caught.value)
    assert not (tmp_path / "target").exists()
    assert contents(repo.fetch("d", dest=tmp_path / "part", include=[one]).path) == {one: one.encode()}


def test_names_that_are_not_utf8_are_refused_and_the_rest_is_published(repo, tmp_path):
    """The report names them readably; the version holds the others."""
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "good").write_text("good")
    with open(os.fsencode(tmp_path / "odd") + b"/bad\xff", "w") as file:
        file.write("bad")
    report = repo.sync(tmp_path / "odd", "d")
    assert [(os.path.basename(name), reason[:4]) for name, reason in report.add.problems]
    assert report.add.problems[0][0].isprintable()
    assert [entry.path for entry in report.version.entries()] == ["good"]
