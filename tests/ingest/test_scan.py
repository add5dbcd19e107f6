"""Walking: everything is found or refused by name."""

import os
import shutil
import socket

import pytest

from dataver.errors import InvalidInput, PathNotFound
from dataver.formats.entry import Kind, safe_link
from dataver.ingest import scan as scanning
from dataver.ingest.scan import Scan, scan
from dataver.machine.deep_folders import remove_folder


def write(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def walked(root, how=None):
    how = how or Scan()
    return [found.path for folder in scan(root, how) for found in folder], how


def test_a_folders_contents_are_found_in_order(tmp_path):
    """Files, links and empty folders, below the destination."""
    write(tmp_path, "b.txt", "a/x.txt", "a/y.txt")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("b.txt")
    found = [each for folder in scan(tmp_path, Scan("train")) for each in folder]
    assert [(each.path, each.kind) for each in found] == [
        ("train/b.txt", Kind.FILE),
        ("train/link", Kind.SYMLINK),
        ("train/a/x.txt", Kind.FILE),
        ("train/a/y.txt", Kind.FILE),
        ("train/empty", Kind.DIRECTORY),
    ]
    assert found[1].target == "b.txt"


def test_a_large_folder_comes_in_several_lists(tmp_path, monkeypatch):
    """In the same order; none is longer than the limit."""
    write(tmp_path, *(f"a/{number}" for number in range(8)), "a/b/c")
    whole = walked(tmp_path)[0]
    monkeypatch.setattr(scanning, "_TOGETHER", 3)
    assert [len(some) for some in scan(tmp_path, Scan())] == [3, 3, 2, 1]
    assert walked(tmp_path)[0] == whole


def test_a_single_file_goes_into_the_destination(tmp_path):
    """Under its own name, with its executable bit."""
    write(tmp_path, "run.sh")
    (tmp_path / "run.sh").chmod(0o755)
    ((only,),) = scan(tmp_path / "run.sh", Scan("tools/"))
    assert (only.path, only.kind) == ("tools/run.sh", Kind.EXECUTABLE)


def test_what_does_not_exist_is_an_error(tmp_path):
    """One clear sentence before anything is read."""
    with pytest.raises(PathNotFound, match="nothing-here"):
        list(scan(tmp_path / "nothing-here", Scan()))


@pytest.mark.parametrize("dest", ["../up", "a/../b", "a\0b", "a\nb"])
def test_a_destination_that_is_no_path_is_an_error(tmp_path, dest):
    """It must stay inside the version."""
    with pytest.raises(InvalidInput):
        list(scan(tmp_path, Scan(dest)))


def test_ignore_files_work_as_gitignore_does(tmp_path):
    """Patterns apply below their folder; inner files override outer ones; .git and .dataver never go in."""
    write(
        tmp_path, "a.log", "keep/a.log", "keep/b.txt", "build/x", "deep/build/y", ".git/config", ".dataver/x"
    )
    (tmp_path / ".dataverignore").write_text("*.log\n/build/\n")
    (tmp_path / "keep" / ".dataverignore").write_text("!a.log\n")
    paths, how = walked(tmp_path)
    assert paths == [
        ".dataverignore",
        "deep/build/y",
        "keep/.dataverignore",
        "keep/a.log",
        "keep/b.txt",
    ]
    assert how.ignored == 2
    assert how.left_out == {".git"}
    assert how.problems == []


def test_exclude_and_include_choose_files(tmp_path):
    """Include lets only matching files in; exclude wins over it."""
    write(tmp_path, "a.jpg", "b.png", "sub/c.jpg", "sub/d.jpg")
    paths, _ = walked(tmp_path, Scan(include=["*.jpg"], exclude=["sub/d.*"]))
    assert paths == ["a.jpg", "sub/c.jpg"]


def test_specials_are_refused_by_name_and_the_rest_goes_on(tmp_path):
    """Sockets, pipes and links out of the folder."""
    write(tmp_path, "ok.txt", "zz.txt")
    os.mkfifo(tmp_path / "pipe")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "sock"))
    (tmp_path / "out").symlink_to("/etc/passwd")
    (tmp_path / "up").symlink_to("../../x")
    paths, how = walked(tmp_path)
    server.close()
    assert paths == ["ok.txt", "zz.txt"]
    reasons = dict(how.problems)
    assert "named pipe" in reasons[str(tmp_path / "pipe")]
    assert "socket" in reasons[str(tmp_path / "sock")]
    assert "out of the added folder" in reasons[str(tmp_path / "out")]
    assert "out of the added folder" in reasons[str(tmp_path / "up")]
    assert set(how.unseen) == {"pipe", "sock", "out", "up"}


def test_names_that_cannot_be_stored_are_refused_by_name(tmp_path):
    """Not UTF-8, control characters, a backslash."""
    write(tmp_path, "ok", "tab\there", "back\\slash")
    with open(os.fsencode(tmp_path) + b"/caf\xe9", "w"):
        pass
    paths, how = walked(tmp_path)
    assert paths == ["ok"]
    assert len(how.problems) == 3
    assert any(r"caf\xe9" in name or r"caf\udce9" in name for name, _ in how.problems)


def test_an_unreadable_folder_is_refused_and_hides_what_is_in_it(tmp_path):
    """A mirror must not take its contents for deleted."""
    write(tmp_path, "b", "shut/a")
    how = Scan()
    walk = scan(tmp_path, how)
    assert [found.path for found in next(walk)] == ["b"]
    shutil.rmtree(tmp_path / "shut")  # root may read everything, so the folder goes away instead
    assert list(walk) == []
    assert [name for name, _ in how.problems] == [str(tmp_path / "shut")]
    assert how.unseen == ["shut"]


def test_folders_nest_deeper_than_calls_may(tmp_path):
    """Depth costs no stack, and a problem above does not hide what lies below."""
    depth = 1500
    folder = os.open(tmp_path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=folder)
        below = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)
    assert walked(tmp_path)[0] == ["d/" * depth + "leaf"]
    remove_folder(tmp_path / "d")  # pytest's own removal recurses


@pytest.mark.parametrize(
    ("link", "target", "stored"),
    [
        ("img/l", "../lab/a", "../lab/a"),
        ("img/l", "./../lab//a", "./../lab//a"),
        ("l", "nowhere", "nowhere"),
        ("img/l", "..", ".."),
        ("img/l", "../img/../lab/a", "../lab/a"),
        ("l", "lab/../lab/a", "lab/a"),
        ("l", "lab/..", "."),
        ("l", "to-lab/../../img", "img"),
        ("img/l", "../../src/lab/a", "../lab/a"),
        ("img/l", "../../src", ".."),
        ("l", "../src/nowhere", "nowhere"),
        ("l", "nowhere/../lab/a", None),
        ("l", "../other", None),
        ("l", "../src-2/a", None),
        ("l", "to-lab/../../../other", None),
    ],
)
def test_a_link_that_is_taken_can_be_made_anywhere(tmp_path, link, target, stored):
    """What a target means is stored in a form that needs neither the root's name nor `..` behind a name."""
    root = tmp_path / "src"
    write(root, "lab/a", "img/b", "deep/lab/c")
    write(tmp_path, "src-2/a")
    (root / "to-lab").symlink_to("deep/lab")
    (root / link).symlink_to(target)
    how = Scan("data")
    found = {each.path: each.target for folder in scan(root, how) for each in folder}
    assert found.get(f"data/{link}") == stored
    assert len(how.problems) == (stored is None)
    if stored is not None:
        assert safe_link(link, stored)
        assert ((root / link).parent / stored).resolve() == (root / link).resolve()


def test_followed_links_store_what_they_point_to_and_never_run_in_circles(tmp_path):
    """--follow-links reads through links, also into folders, and refuses a loop."""
    write(tmp_path, "real/a.txt")
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    write(outside, "b.txt")
    (tmp_path / "file").symlink_to(outside / "b.txt")
    (tmp_path / "folder").symlink_to(outside)
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "real")
    paths, how = walked(tmp_path, Scan(follow_links=True))
    assert paths == ["file", "folder/b.txt", "real/a.txt"]
    assert len(how.problems) == 1 and "contains it" in how.problems[0][1]
