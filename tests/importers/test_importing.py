"""The import of a history, with a source in memory."""

import io
import os
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

import pytest

import dataver
from dataver.errors import DataverError, Incomplete, InvalidInput, StoreError
from dataver.formats.entry import Kind
from dataver.importers import import_versions, plan_import, reading
from dataver.importers.history import ImportedHistory
from dataver.importers.names import dataset_name
from dataver.importers.source import SourceFile
from importers.sources import BEGAN, WrittenSource, file


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dataver.Repository:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return dataver.init(tmp_path / "repo")


def contents(repo: dataver.Repository, ref: str) -> dict[str, bytes]:
    version = repo.version(ref)
    return {
        entry.path: version.files().read(entry.path) if entry.kind < 2 else entry.target.encode()
        for entry in version.entries()
    }


def parents(repo: dataver.Repository, ref: str) -> list[str]:
    return sorted(f"{each.dataset}@{each.label}" for each in repo.version(ref).parents)


def labels(repo: dataver.Repository, name: str = "cats") -> list[str]:
    return sorted(version.label for version in repo.versions(name))


def test_a_history_is_imported_version_by_version(repo: dataver.Repository) -> None:
    """Added, changed, renamed, copied and removed files are right in every version, with facts and tags."""
    source = WrittenSource()
    source.add("a", file("one", b"1"), file("two", b"22"), tags=("first",))
    source.add("b", file("one", b"1"), file("sub/two", b"22"), file("three", b"333"), metadata={"k": 1})
    source.add("c", file("one", b"new"), file("copy/1", b"new"), file("three", b"333", kind=Kind.EXECUTABLE))
    source.add("d", file("three", b"333"), SourceFile("link", "", kind=Kind.SYMLINK, target="three"))
    report = import_versions(repo, source)
    assert [version.label for version in report.versions] == ["1.0.0", "1.0.1", "1.0.2", "1.0.3"]
    assert report.problems == []
    assert report.files == 4  # contents, each read once
    assert contents(repo, "cats@1.0.0") == {"one": b"1", "two": b"22"}
    assert contents(repo, "cats@1.0.1") == {"one": b"1", "sub/two": b"22", "three": b"333"}
    assert contents(repo, "cats@1.0.2") == {"one": b"new", "copy/1": b"new", "three": b"333"}
    assert repo.version("cats@1.0.2").entry("three").kind == Kind.EXECUTABLE
    assert contents(repo, "cats@1.0.3") == {"three": b"333", "link": b"three"}
    second = repo.version("cats@1.0.1")
    assert (second.message, second.author, second.created.hour) == ("version b", "ana", 13)
    assert parents(repo, "cats@1.0.1") == ["cats@1.0.0"]
    assert second.metadata == {"k": 1, "imported": {"from": "written", "source": "a test", "id": "b"}}
    assert repo.tagged("cats") == {"first": "1.0.0"}


def test_a_strict_import_makes_no_version_that_lacks_a_file(repo: dataver.Repository) -> None:
    """Versions before it are published; once the source is mended, the import continues."""
    source = WrittenSource()
    source.add("a", file("one", b"1"))
    source.add("b", file("one", b"1"), file("gone", b"gone", missing="its object is missing"))
    source.add("c", file("one", b"1"), file("two", b"22"), file("wrong", b"right"))
    with pytest.raises(
        Incomplete, match=r"^b cannot be imported as a whole: gone: its object is missing\.\n"
    ):
        import_versions(repo, source, strict=True)
    assert labels(repo) == ["1.0.0"]
    source.rows[1] = replace(source.rows[1], files=lambda: [file("one", b"1"), file("gone", b"gone")])
    wrong = file("wrong", b"right")._replace(read=lambda: io.BytesIO(b"WRONG"))
    source.rows[2] = replace(source.rows[2], files=lambda: [file("two", b"22"), wrong])
    with pytest.raises(Incomplete, match=r"^c cannot .*: wrong: ") as caught:
        import_versions(repo, source, strict=True)
    assert [name for name, _ in caught.value.problems] == ["wrong"]
    assert labels(repo) == ["1.0.0", "1.0.1"]
    source.rows[2] = replace(source.rows[2], files=lambda: [file("two", b"22"), file("wrong", b"right")])
    report = import_versions(repo, source, strict=True)
    assert (report.files, report.known, report.problems) == (1, 2, [])  # `two` is in the draft
    assert contents(repo, "cats@1.0.2") == {"two": b"22", "wrong": b"right"}


def test_a_repeated_import_brings_only_what_is_new(repo: dataver.Repository) -> None:
    """Versions that are there are not made again, tags follow the source, and new versions are added."""
    source = WrittenSource()
    source.add("a", file("one", b"1"))
    import_versions(repo, source)
    again = import_versions(repo, source)
    assert (again.versions, again.known, again.files, again.tags) == ([], 1, 0, [])
    source.add("b", file("one", b"1"), file("two", b"2"), tags=("new",))
    plan = plan_import(repo, source)
    assert (len(plan.versions), plan.known, plan.files, plan.size, plan.stored) == (1, 1, 1, 1, 1)
    last = import_versions(repo, source)
    assert ([each.label for each in last.versions], last.files) == (["1.0.1"], 1)
    assert last.tags == [("new", "cats@1.0.1")]


def test_branches_are_forks_and_merges_are_on_the_main_line(repo: dataver.Repository) -> None:
    """`latest` is the last version of the first line; a fork keeps its own time."""
    source = WrittenSource()
    source.add("a", file("base", b"0"), file("old", b"old"))
    source.add("m", file("base", b"0"), file("main", b"m"), file("old", b"old"), parents=("a",))
    source.add("f", file("base", b"0"), file("fork", b"f"), parents=("a",), created=BEGAN.replace(minute=30))
    source.add("j", file("base", b"0"), file("main", b"m"), file("fork", b"f"), parents=("m", "f"))
    source.add("x", file("base", b"x"), parents=("m",))
    import_versions(repo, source)
    assert labels(repo) == ["1.0.0", "1.0.0-fork.1", "1.0.1", "1.0.1-fork.1", "1.0.2"]
    fork = repo.version("cats@1.0.0-fork.1")
    assert fork.created == BEGAN.replace(minute=30)
    merged = repo.version("cats@latest")
    assert merged.message == "version j"
    assert parents(repo, "cats@latest") == ["cats@1.0.0-fork.1", "cats@1.0.1"]
    assert contents(repo, "cats@latest") == {"base": b"0", "main": b"m", "fork": b"f"}
    assert contents(repo, "cats@1.0.1-fork.1") == {"base": b"x"}


def test_what_cannot_be_read_is_left_out_and_nothing_else_is_lost(repo: dataver.Repository) -> None:
    """A missing, a wrong, a short and a hostile file are named; an older content never stands for them."""
    source = WrittenSource()
    source.add("a", file("wrong", b"before"), file("fine", b"fine"))
    source.add(
        "b",
        file("fine", b"fine"),
        file("wrong", b"after", read=lambda: io.BytesIO(b"AFTER")),
        file("same", b"after"),
        file("short", b"12345", read=lambda: io.BytesIO(b"123")),
        file("gone", b"gone", missing="its object is missing from the remote"),
        file("nowhere", b"n", url="/no/such/file"),
        file("../outside", b"x"),
        file("fine/below", b"x"),
        SourceFile("etc", "", kind=Kind.SYMLINK, target="/etc/passwd"),
        file("more", b"more"),
    )
    report = import_versions(repo, source)
    assert contents(repo, "cats@1.0.1") == {"fine": b"fine", "more": b"more"}
    reasons = {name.removesuffix(" in cats@1.0.1"): reason for name, reason in report.problems}
    assert set(reasons) == {
        "wrong", "same", "short", "gone", "nowhere", "../outside", "fine/below", "etc",
    }  # fmt: skip
    assert "md5" in reasons["wrong"]
    imported = repo.version("cats@1.0.1").metadata["imported"]
    assert imported["left_out"] == 8
    assert set(imported["left_out_paths"]) == set(reasons)


def test_a_version_that_cannot_be_listed_is_left_out(repo: dataver.Repository) -> None:
    """Its children are children of its parents."""

    def damaged() -> list[SourceFile]:
        raise DataverError("its listing is cut off.")

    source = WrittenSource()
    source.add("a", file("one", b"1"))
    broken = source.add("b")
    object.__setattr__(broken, "files", damaged)
    source.add("c", file("one", b"1"), file("two", b"2"))
    report = import_versions(repo, source)
    assert report.problems == [("b", "its listing is cut off.")]
    assert parents(repo, "cats@latest") == ["cats@1.0.0"]
    assert contents(repo, "cats@latest") == {"one": b"1", "two": b"2"}


def test_an_interrupted_import_continues(repo: dataver.Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contents that were read before the interruption are not read again."""
    monkeypatch.setattr("dataver.importers.reading._FILES", 2)
    monkeypatch.setattr("dataver.importers.importing._FILES", 2)
    opened: list[int] = []
    down = [True]

    def reader(number: int) -> SourceFile:
        data = b"%d" % number

        def read() -> io.BytesIO:
            if number == 5 and down[0]:
                raise StoreError("the network is down.", transient=True)
            opened.append(number)
            return io.BytesIO(data)

        return file(f"f{number}", data, read=read)

    source = WrittenSource()
    source.add("before", file("removed", b"r"), file("renamed", b"n"))
    source.add("a", file("new name", b"n"), *(reader(number) for number in range(8)))
    with pytest.raises(StoreError, match="the network is down") as caught:
        import_versions(repo, source)
    assert caught.value.hint == "repeat the import to continue"
    assert labels(repo) == ["1.0.0"]
    first = set(opened)
    assert first >= {0, 1, 2, 3}
    down[0] = False
    opened.clear()
    report = import_versions(repo, source)
    assert not {0, 1, 2, 3} & set(opened)
    assert report.versions[0].file_count == 9
    assert contents(repo, "cats@latest") == {
        "new name": b"n",
        **{f"f{number}": b"%d" % number for number in range(8)},
    }


def test_objects_can_stay_in_place(repo: dataver.Repository, tmp_path: Path) -> None:
    """With `in_place` the bytes are not stored, and their checksums are still verified."""
    remote = tmp_path / "remote"
    remote.mkdir()
    (remote / "o1").write_bytes(b"a" * 100_000)
    (remote / "o2").write_bytes(b"other")
    source = WrittenSource()
    source.add(
        "a",
        file("one", b"a" * 100_000, url=str(remote / "o1")),
        file("again", b"a" * 100_000, url=str(remote / "o1")),
        file("wrong", b"expected", url=str(remote / "o2")),
    )
    plan = plan_import(repo, source, in_place=True)
    assert (plan.files, plan.size, plan.stored) == (2, 100_008, 0)
    assert plan.places == [f"file://{remote}"]
    report = import_versions(repo, source, in_place=True)
    assert [name for name, _ in report.problems] == ["wrong in cats@1.0.0"]
    assert report.places == plan.places
    assert contents(repo, "cats@latest") == {"one": b"a" * 100_000, "again": b"a" * 100_000}
    (remote / "o1").unlink()
    with pytest.raises(DataverError):
        contents(repo, "cats@latest")


def test_references_need_permission(repo: dataver.Repository, tmp_path: Path) -> None:
    """A source that refers to files of this machine cannot make the importer read them."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    source = WrittenSource()
    source.add("a", file("s", b"secret", url=str(secret), external=True), file("fine", b"fine"))
    plan = plan_import(repo, source)
    assert (plan.files, plan.size, plan.stored, plan.places) == (1, 4, 4, [])
    report = import_versions(repo, source)
    assert contents(repo, "cats@latest") == {"fine": b"fine"}
    assert [reason for _, reason in plan.problems] == [reason for _, reason in report.problems]
    assert "--in-place allows it" in report.problems[0][1]


def test_tags_become_valid_names(repo: dataver.Repository) -> None:
    """One that cannot, or that has the name of another one then, is reported; a label needs no tag."""
    source = WrittenSource()
    source.add("a", file("one", b"1"), tags=("release/1", "latest", "猫"), label="2.0.0")
    source.add("b", file("one", b"2"), tags=("release-1", "2.0.1", "2.0.0"))
    for _ in range(2):
        report = import_versions(repo, source)
        assert repo.tagged("cats") == {"release-1": "2.0.0"}
        assert [name for name, _ in report.problems] == [
            "tag latest of cats@2.0.0",
            "tag 猫 of cats@2.0.0",
            "tag release-1 of cats@2.0.1",
            "tag 2.0.0 of cats@2.0.1",
        ]


def test_names_in_other_scripts_stay_different() -> None:
    """A name that is too long, or reserved, is not that of another dataset either."""
    names = ("Cats & dogs/1", "猫", "狗", "🐱", "naïve", "tags/a", "tags/b", "a" * 300, "a" * 301, "***")
    found = {name: dataset_name(name) for name in names}
    assert len(set(found.values())) == len(names)
    assert (found["Cats & dogs/1"], found["***"]) == ("Cats-dogs/1", "imported")
    assert found["naïve"].startswith("na-ve-")
    assert dataset_name(normalize("NFD", "naïve")) == found["naïve"]


def test_imports_at_once_make_each_version_once(repo: dataver.Repository) -> None:
    """Of two processes that make the same version, the second finds that of the first."""
    first = [True]

    def source() -> WrittenSource:
        made = WrittenSource()
        made.add("a", file("one", b"1"), label="2.0.0")
        made.add("b", file("two", b"2", read=interrupted))
        made.add("c", file("two", b"2"), file("three", b"3"))
        made.add("fork", file("two", b"fork"), parents=("a",))
        return made

    def interrupted() -> io.BytesIO:
        if first:
            first.clear()
            import_versions(repo, source(), workspace="other")
        return io.BytesIO(b"2")

    report = import_versions(repo, source())
    assert ([each.label for each in report.versions], report.known) == (["2.0.0"], 3)
    assert labels(repo) == ["2.0.0", "2.0.0-fork.1", "2.0.1", "2.0.2"]
    assert list(repo.drafts()) == []


def test_versions_of_others_in_the_dataset_are_reported(repo: dataver.Repository) -> None:
    """Before anything is made, and not again once there is an imported one."""
    repo.create("cats").finalize(allow_empty=True).upload()
    source = WrittenSource()
    source.add("a", file("one", b"1"))
    plan = plan_import(repo, source)
    report = import_versions(repo, source)
    assert plan.problems == report.problems
    assert [name for name, _ in report.problems] == ["cats"]
    assert "another --name" in report.problems[0][1]
    source.add("b", file("one", b"2"))
    assert import_versions(repo, source).problems == []


def test_a_plan_counts_what_the_import_reads(repo: dataver.Repository) -> None:
    """Also what two branches add, what comes back, and what the parents of a deleted version have."""
    source = WrittenSource()
    source.add("a", file("one", b"1"), file("two", b"22"))
    import_versions(repo, source)
    source.add("gone", file("two", b"22"))
    source.add("b", file("one", b"1"), file("two", b"22"), file("three", b"333"), parents=("a",))
    source.add("c", file("copy", b"22"), file("three", b"333"), parents=("a",))
    source.add("d", file("copy", b"22"), file("same", b"22"), parents=("b", "c"))
    source.add("e", file("three", b"333"), file("one", b"1"), parents=("d",))
    plan = plan_import(repo, source)
    assert (plan.files, plan.size) == (4, 10)
    report = import_versions(repo, source)
    assert (report.files, report.size) == (plan.files, plan.size)
    repo.delete("cats@latest", reason="wrong")
    source.add("f", file("copy", b"22"), file("one", b"1"))
    plan = plan_import(repo, source)
    assert (plan.known, plan.files) == (6, import_versions(repo, source).files)


def test_many_versions_that_were_deleted_are_passed(repo: dataver.Repository) -> None:
    """The next one follows the last before them, also across merges, of which there are many ways."""
    source = WrittenSource()
    source.add("a", file("one", b"1"))
    import_versions(repo, source)
    gone = ImportedHistory(repo._core, source.kind)
    assert gone.find(source.rows[0])
    for number in range(3_000):
        last = source.rows[-1].key
        for key in (f"left {number}", f"right {number}"):
            gone.leave_out(source.add(key, parents=(last,)))
        gone.leave_out(source.add(f"merge {number}", parents=(f"left {number}", f"right {number}")))
    (parent,) = gone.parents(source.add("b"))
    assert parent.published.ref == "cats@1.0.0"


def test_a_reference_that_leads_nowhere_loses_nothing_else(
    repo: dataver.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket that cannot exist is named; a package that can be installed stops the import before."""
    source = WrittenSource()
    source.add("a", file("bad", b"1", url="s3://b/key", external=True), file("fine", b"fine"))
    assert "--in-place" in plan_import(repo, source).problems[0][1]
    report = import_versions(repo, source, in_place=True)
    assert contents(repo, "cats@latest") == {"fine": b"fine"}
    assert [name for name, _ in report.problems] == ["bad in cats@1.0.0"]

    def lacks(*_: object) -> None:
        raise InvalidInput("az:// needs a package.", hint="pip install adlfs")

    monkeypatch.setattr("dataver.importers.reading.open_place", lacks)
    source.add("b", file("bad", b"2", url="az://container/key", external=True))
    with pytest.raises(InvalidInput, match="needs a package"):
        import_versions(repo, source, in_place=True)


def test_parents_are_bounded(repo: dataver.Repository) -> None:
    """A merge of more is reported, and has all its files."""
    source = WrittenSource()
    for number in range(66):
        source.add(f"p{number}", file("a", b"%d" % number), parents=())
    source.add("merge", file("a", b"65"), parents=tuple(each.key for each in source.rows))
    report = import_versions(repo, source)
    assert [name for name, _ in report.problems] == ["parents of merge"]
    assert len(report.versions[-1].parents) == 64
    assert report.versions[-1].read("a") == b"65"


def test_a_file_that_changes_after_its_check_is_left_out(
    repo: dataver.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the version had bytes that nothing has verified; a new hard link is no change."""
    for name in ("changed", "linked"):
        (tmp_path / name).write_bytes(b"right")
        os.utime(tmp_path / name, (1, 1))
    ready = reading._verified

    def change(file: SourceFile, path: Path) -> reading.Ready:
        found = ready(file, path)
        if path.name == "changed":
            path.write_bytes(b"wrong")
        else:
            os.link(path, tmp_path / "link")
        return found

    monkeypatch.setattr(reading, "_verified", change)
    source = WrittenSource()
    # two contents by name, so that both are read
    other = file("linked", b"right", url=str(tmp_path / "linked"))._replace(content="md5:other")
    source.add("a", file("changed", b"right", url=str(tmp_path / "changed")), other)
    report = import_versions(repo, source)
    assert contents(repo, "cats@latest") == {"linked": b"right"}
    assert report.problems == [("changed in cats@1.0.0", "it has changed since it was verified")]


def test_a_deleted_version_stays_deleted(repo: dataver.Repository) -> None:
    """An import does not bring back what a person has deleted."""
    source = WrittenSource()
    source.add("a", file("one", b"1"))
    source.add("b", file("one", b"2"))
    import_versions(repo, source)
    repo.delete("cats@1.0.1", reason="wrong")
    source.add("c", file("one", b"3"))
    report = import_versions(repo, source)
    assert (report.known, [each.label for each in report.versions]) == (2, ["1.0.2"])
    assert parents(repo, "cats@latest") == ["cats@1.0.0"]


def test_a_deleted_dataset_is_imported_again(repo: dataver.Repository) -> None:
    """Its versions get new labels, as labels are never reused."""
    source = WrittenSource()
    source.add("a", file("one", b"1"))
    import_versions(repo, source)
    repo.delete("cats@1.0.0", reason="incomplete")
    assert [each.label for each in import_versions(repo, source).versions] == ["1.0.1"]


def test_labels_of_the_source_are_kept_where_they_are_free(repo: dataver.Repository) -> None:
    """A label that is taken or invalid is noted, and the next free one is used."""
    source = WrittenSource()
    source.add("a", file("one", b"1"), label="2.1.0")
    source.add("b", file("one", b"2"), label="2.1.0")
    source.add("c", file("one", b"3"), label="a/b")
    import_versions(repo, source)
    assert labels(repo) == ["2.1.0", "2.1.1", "2.1.2"]
    assert repo.version("cats@2.1.1").metadata["imported"]["label"] == "2.1.0"


def test_a_link_in_the_source_is_not_followed_to_a_device(repo: dataver.Repository, tmp_path: Path) -> None:
    """Only regular files are read."""
    os.mkfifo(tmp_path / "pipe")
    source = WrittenSource()
    source.add("a", file("pipe", b"", url=str(tmp_path / "pipe")), file("fine", b"fine"))
    report = import_versions(repo, source)
    assert [name for name, _ in report.problems] == ["pipe in cats@1.0.0"]


def test_facts_that_cannot_be_kept_do_not_lose_the_data(repo: dataver.Repository) -> None:
    """Metadata that is too long, or is not JSON, is reported and left out."""
    source = WrittenSource()
    source.add("a", file("one", b"1"), metadata={"long": "x" * 2_000_000})
    source.add("b", file("one", b"2"), metadata={"time": BEGAN}, author="ana\udcff")
    report = import_versions(repo, source)
    assert [name for name, _ in report.problems] == [f"message, author and metadata of {key}" for key in "ab"]
    assert contents(repo, "cats@latest") == {"one": b"2"}
    last = repo.version("cats@latest")
    assert (last.metadata["imported"]["id"], last.author) == ("b", "ana\\udcff")


def test_names_that_a_record_cannot_hold_do_not_stop_the_import(repo: dataver.Repository) -> None:
    """They are shortened and escaped where the version says what it lacks."""
    source = WrittenSource()
    names = ("a\udcff", *(f"{number}{'x' * 20_000}" for number in range(100)))
    source.add("a", file("fine", b"fine"), *(file(name, b"1") for name in names))
    report = import_versions(repo, source)
    assert len(report.problems) == 101
    imported = repo.version("cats@latest").metadata["imported"]
    assert imported["left_out"] == 101
    assert "a\\udcff" in imported["left_out_paths"]


def test_two_files_at_one_path_are_reported(repo: dataver.Repository) -> None:
    """A version has one of them; the same content twice is one file."""
    source = WrittenSource()
    source.add("a", file("one", b"1"), file("one", b"2"), file("same", b"3"), file("same", b"3"))
    report = import_versions(repo, source)
    assert contents(repo, "cats@latest") == {"one": b"1", "same": b"3"}
    assert [name for name, _ in report.problems] == ["one in cats@1.0.0"]
