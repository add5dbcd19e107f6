"""Which repository a command means: the argument, the environment, the project, the user's own."""

import os
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

import dataver
from dataver.api.config import remember_repository
from dataver.errors import InvalidInput, NotFound
from dataver.machine.configuration import configured_url
from dataver.machine.paths import cache_root, default_repository, find_workspace, user_folder


def write_config(folder, url):
    return remember_repository(folder, url, {})[0]


@pytest.fixture
def project(tmp_path):
    """A project folder with a configuration, and a folder deep inside it."""
    deep = tmp_path / "project" / "a" / "b"
    deep.mkdir(parents=True)
    return tmp_path / "project", deep


def test_the_environment_comes_before_the_project(project, tmp_path, monkeypatch):
    """`DATAVER_REPO` wins over `config.toml`; the argument wins over both."""
    top, deep = project
    for name in ("given", "environment", "configured"):
        dataver.init(tmp_path / name)
    write_config(top, str(tmp_path / "configured"))
    monkeypatch.chdir(deep)
    assert dataver.open().url == str(tmp_path / "configured")
    monkeypatch.setenv("DATAVER_REPO", str(tmp_path / "environment"))
    assert dataver.open().url == str(tmp_path / "environment")
    assert dataver.open(tmp_path / "given").url == str(tmp_path / "given")
    monkeypatch.setenv("DATAVER_REPO", "")
    assert dataver.open().url == str(tmp_path / "configured")


def test_a_project_is_found_from_any_folder_in_it(project, monkeypatch):
    """The nearest `.dataver` upwards counts, also without a configuration."""
    top, deep = project
    write_config(top, "s3://bucket/prefix")
    assert find_workspace(deep) == top
    assert configured_url(deep) == "s3://bucket/prefix"
    (deep / ".dataver").mkdir()
    assert find_workspace(deep) == deep
    assert configured_url(deep) is None
    monkeypatch.chdir(top)
    assert find_workspace() == top


def test_a_relative_repository_is_relative_to_the_project(project, monkeypatch):
    """It means the same folder wherever the command runs."""
    top, deep = project
    dataver.init(top / "data" / "repo")
    write_config(top, "data/repo")
    monkeypatch.chdir(deep)
    assert dataver.open().url == str(top / "data" / "repo")


@pytest.mark.parametrize(
    "url", ['with "quotes" and \\backslash', "größe/日本語", "s3://b/with space", "tab\tand\nnewline"]
)
def test_any_url_survives_the_configuration(project, url):
    """What is written is what is read, and the file is meant to be committed."""
    top, deep = project
    path = write_config(top, url)
    expected = url if "://" in url else str(top / url)
    assert configured_url(deep) == expected
    ignored = (top / ".dataver" / ".gitignore").read_text()
    assert "!config.toml" in ignored.splitlines()
    assert path == top / ".dataver" / "config.toml"


def test_writing_the_configuration_again_keeps_the_users_gitignore(project):
    """The second repository replaces the first; what the user changed stays."""
    top, _ = project
    write_config(top, "one")
    (top / ".dataver" / ".gitignore").write_text("mine\n")
    write_config(top, "s3://two")
    assert configured_url(top) == "s3://two"
    assert (top / ".dataver" / ".gitignore").read_text() == "mine\n"


@pytest.mark.parametrize(
    "text",
    [
        b"[repository\nurl = 1",
        b"repository = 5",
        b"\xff\xfe\x00",
        b"[repository]\nurl = 5",
        b"[repository]\nurl = ['a']",
    ],
)
def test_a_broken_configuration_is_named(project, monkeypatch, text):
    """The file, what is wrong with it and what to do; never another repository instead."""
    top, deep = project
    (top / ".dataver").mkdir()
    (top / ".dataver" / "config.toml").write_bytes(text)
    monkeypatch.chdir(deep)
    with pytest.raises(InvalidInput, match=r"config\.toml") as caught:
        dataver.open()
    assert caught.value.hint


def test_a_configuration_without_a_repository_says_nothing(project):
    """An empty file, or one with other tables, leaves the choice to the next place."""
    top, deep = project
    (top / ".dataver").mkdir()
    for text in ("", "# nothing\n", "[other]\nx = 1\n", "[repository]\n"):
        (top / ".dataver" / "config.toml").write_text(text)
        assert configured_url(deep) is None


def test_a_configured_repository_that_is_not_there_is_not_replaced(project, monkeypatch):
    """A project's repository is never made on the way, and the user's own is not taken for it."""
    top, deep = project
    write_config(top, "gone")
    monkeypatch.chdir(deep)
    with pytest.raises(NotFound, match="not a dataver repository"):
        dataver.open()
    assert not (top / "gone").exists()


def test_without_any_choice_the_users_own_repository_is_made_once():
    """The default repository appears when it is first opened and is the same afterwards."""
    where = default_repository()
    assert where.is_relative_to(platformdirs.user_data_path("dataver"))
    assert not where.exists()
    first = dataver.open()
    assert first.url == str(where)
    assert dataver.open().id == first.id


def test_the_cache_lies_where_it_is_told(tmp_path, monkeypatch):
    """`DATAVER_CACHE`, with `~`, else the user's cache folder."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "x"))
    assert cache_root() == tmp_path / "x"
    monkeypatch.setenv("DATAVER_CACHE", "~/cache")
    assert str(cache_root()) == os.environ["HOME"] + "/cache"
    monkeypatch.delenv("DATAVER_CACHE")
    assert cache_root() == platformdirs.user_cache_path("dataver")


@pytest.mark.parametrize("kind", ["cache", "config", "data", "state"])
@pytest.mark.parametrize("home", ["/home/somebody", "/home/somebody/", "/", None])
@pytest.mark.parametrize("chosen", ["/mnt/fast", "", None])
def test_the_users_folders_are_those_of_every_program(kind, home, chosen, monkeypatch):
    """With the environment's choice, a usual home, or none at all: what `platformdirs` says."""
    for name, value in (("HOME", home), (f"XDG_{kind.upper()}_HOME", chosen)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    usual = platformdirs.PlatformDirs("dataver")
    assert user_folder(kind) == Path(getattr(usual, f"user_{kind}_dir"))
    if home is None:  # a home that is none counts as unset
        for wrong in ("", "relative/home"):
            monkeypatch.setenv("HOME", wrong)
            assert user_folder(kind) == Path(getattr(usual, f"user_{kind}_dir"))


def test_a_user_whom_the_system_does_not_know_has_no_home():
    """As in a container with any number for its user: no folder is made relative to the current one."""
    code = "import os; os.setuid(54321); print(dataver.machine.paths.user_folder('cache'))"
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    if os.getuid() != 0:
        pytest.skip("only root can be any user")
    done = subprocess.run(
        [sys.executable, "-c", "import dataver.machine.paths; " + code],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "/nonexistent/.cache/dataver\n", done.stderr
