"""Ignore files: patterns mean what they mean to git, and a file that is not understood hides its folder."""

import os
import random
import shutil
import subprocess

import pytest

import dataver
from dataver.errors import InvalidInput
from dataver.ingest.ignore_rules import parse_patterns
from dataver.ingest.scan import IGNORE_FILE, Scan, scan, selection_of

NAMES = ["a", "b", "ab", "a.b", "c d", "é", "[a]", "!a", "#a", "a ", "*x", "-", "^a", "A"]
GLOBS = ["a", "b", "*", "?", "**", "[ab]", "[!a]", "[^b]", "***", "\\a", "[", "]", "[]a]", "[a-b]", "[b-a]"]
GLOBS += ["[[:alpha:]]", "[[:alpha:]-z]", "[[:no:]]", "[[:", "[a/b]", "[!]a]", "[\\]a]", "[a-]", "[a\\-b]"]
GLOBS += [".", "c d", "é", "\\", "\\[", "\\*", "\\!", "\\#", "#", "!", " ", "\\ ", "-", "^a"]


def some_name(dice):
    return dice.choice(NAMES[:4] if dice.random() < 0.7 else NAMES)


def some_pattern(dice):
    parts = []
    for _ in range(dice.choice([1, 1, 1, 2, 2, 3])):
        kind = dice.random()
        if kind < 0.35:
            parts.append(some_name(dice))
        elif kind < 0.6:
            parts.append("**" if kind < 0.5 else "*")
        else:
            globs = GLOBS[:8] if dice.random() < 0.6 else GLOBS
            parts.append("".join(dice.choices(globs, k=dice.choice([1, 1, 2, 2, 3]))))
    pattern = "/".join(parts)
    for chance, change in (
        (0.25, "/{}"),
        (0.3, "{}/"),
        (0.35, "!{}"),
        (0.05, "{}  "),
        (0.03, "#{}"),
        (0.03, "{}\r"),
    ):
        if dice.random() < chance:
            pattern = change.format(pattern)
    return pattern


def some_list(dice):
    text = "\n".join(some_pattern(dice) for _ in range(dice.choice([1, 2, 3, 4, 6])))
    return ("\ufeff" if dice.random() < 0.05 else "") + text + ("\n" if dice.random() < 0.8 else "")


def fill(dice, root):
    """Make a small tree with a list at its top, and sometimes in folders below."""
    for _ in range(dice.choice([3, 5, 8])):
        folder = root.joinpath(*(some_name(dice) for _ in range(dice.choice([0, 1, 1, 2, 3]))))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / some_name(dice)).touch()
        except OSError:  # a file stands there
            continue
    for number, (folder, _, _) in enumerate(os.walk(root)):
        if number == 0 or dice.random() < 0.15:
            with open(os.path.join(folder, IGNORE_FILE), "w", encoding="utf-8", newline="") as file:
                file.write(some_list(dice))


def kept_by_git(top, *how):
    """Return the files below `top` that git does not ignore."""
    subprocess.run(["git", "init", "-q"], cwd=top, check=True)
    git = ["git", "ls-files", "-z", "--others", *how]
    clean = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    out = subprocess.run(git, cwd=top, check=True, stdout=subprocess.PIPE, env=clean).stdout
    return {name.decode() for name in out.split(b"\0") if name}


def kept_by_us(top, how=None):
    walk = scan(top, how or Scan())
    return {found.path for folder in walk for found in folder if not os.path.isdir(found.source)}


@pytest.mark.parametrize(
    ("seed", "count"),
    [(1, 200), *(pytest.param(seed, 1000, marks=pytest.mark.slow) for seed in range(10, 20))],
)
def test_random_lists_leave_out_what_git_leaves_out(tmp_path, seed, count):
    """Any patterns, in files at the top and further down, over any small trees."""
    dice = random.Random(seed)
    for number in range(count):
        (tmp_path / f"{number:05}").mkdir()
        fill(dice, tmp_path / f"{number:05}")
    wanted = kept_by_git(tmp_path, f"--exclude-per-directory={IGNORE_FILE}")
    assert kept_by_us(tmp_path) == wanted
    shutil.rmtree(tmp_path)


def test_random_patterns_for_flat_listings_choose_as_git_does(tmp_path):
    """`covers` alone, without a walk, agrees with git, and includes are what git would ignore."""
    dice = random.Random(7)
    (tmp_path / "tree").mkdir()
    for _ in range(4):
        fill(dice, tmp_path / "tree")
    for found in (tmp_path / "tree").rglob(IGNORE_FILE):
        found.unlink()
    every = kept_by_us(tmp_path / "tree")
    for _ in range(30):
        patterns = []
        while not patterns:
            patterns = [each for each in (some_pattern(dice) for _ in range(4)) if matches_something(each)]
        kept = kept_by_git(tmp_path / "tree", *(f"--exclude={each}" for each in patterns))
        chosen = selection_of(Scan(exclude=patterns))
        assert {path for path in every if chosen(path)} == kept, patterns
        assert kept_by_us(tmp_path / "tree", Scan(exclude=patterns)) == kept, patterns
        assert kept_by_us(tmp_path / "tree", Scan(include=patterns)) == every - kept, patterns


def matches_something(pattern):
    try:
        parse_patterns([pattern])
    except InvalidInput:
        return False
    return True


UNCLEAR = {
    "UTF-16 with a mark": "secret.key\n".encode("utf-16"),
    "UTF-16": "secret.key\n".encode("utf-16-be"),
    "latin-1": "café\nsecret.key\n".encode("latin-1"),
    "old Mac": b"a\rsecret.key\r",
    "form feed": b"a\fsecret.key\n",
    "line separator": "a\u2028secret.key\n".encode(),
}


@pytest.mark.parametrize("data", UNCLEAR.values(), ids=UNCLEAR)
def test_an_ignore_file_that_is_not_understood_refuses_its_folder(tmp_path, data):
    """Nothing beside it or below is found, the rest is, and a mirror keeps what the draft has there."""
    for name in ("top", "in/secret.key", "in/deep/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "in" / IGNORE_FILE).write_bytes(data)
    how = Scan()
    assert kept_by_us(tmp_path, how) == {"top"}
    assert [name for name, _ in how.problems] == [str(tmp_path / "in" / IGNORE_FILE)]
    assert how.unseen == ["in"]


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda name: os.symlink("nothing", name)])
def test_an_ignore_file_that_cannot_be_read_refuses_its_folder(tmp_path, make):
    """A folder, a named pipe, a link to nothing."""
    (tmp_path / "a").touch()
    make(tmp_path / IGNORE_FILE)
    how = Scan("train")
    assert kept_by_us(tmp_path, how) == set()
    assert how.unseen == ["train"]


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b"# caf\xe9\n", b"!\n", b"[\n", b"x\\\n", b"\r\n"])
def test_lines_that_git_passes_over_hide_nothing_more_and_nothing_less(tmp_path, start):
    """A byte order mark, any comment, a lone `!` and patterns without a match change nothing."""
    for name in ("keep", "secret.key"):
        (tmp_path / name).touch()
    (tmp_path / IGNORE_FILE).write_bytes(start + b"secret.key\r\n")
    assert kept_by_us(tmp_path) == {IGNORE_FILE, "keep"}


def test_a_sync_publishes_nothing_of_a_folder_whose_ignore_file_is_not_understood(tmp_path, monkeypatch):
    """Not in the first version, and not in the next."""
    monkeypatch.chdir(tmp_path)
    repo = dataver.init(tmp_path / "repo")
    source = tmp_path / "source"
    source.mkdir()
    (source / "secret.key").touch()
    (source / IGNORE_FILE).write_bytes("secret.key\n".encode("utf-16"))
    done = repo.sync(source, name="d")
    assert done.version is None
    assert len(done.add.problems) == 1
    (source / IGNORE_FILE).write_bytes(b"secret.key\n")
    assert [each.path for each in repo.sync(source, name="d").version.entries()] == [IGNORE_FILE]


@pytest.mark.parametrize("pattern", ["", "!", "/", "[a", "a\\"])
def test_a_pattern_argument_that_can_match_nothing_is_refused(tmp_path, pattern):
    """As `--exclude` or `--include`; in a file git would pass over it."""
    for how in (Scan(exclude=[pattern]), Scan(include=[pattern])):
        with pytest.raises(InvalidInput, match="can match nothing"):
            list(scan(tmp_path, how))


def test_exclude_overrides_ignore_files(tmp_path):
    """What the command leaves out, no file brings back."""
    (tmp_path / "a.log").touch()
    (tmp_path / IGNORE_FILE).write_text("!*.log\n")
    assert kept_by_us(tmp_path, Scan(exclude=["*.log"])) == {IGNORE_FILE}
