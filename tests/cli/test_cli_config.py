"""`dataver config` and what `init` remembers: who said what, what is refused, and that it is used."""

import tomllib
from pathlib import Path

import pytest
from command_line import Run

import dataver
from dataver.errors import InvalidInput
from dataver.machine.configuration import change_value, options_for
from servers import Server

_CANARY = "canary0secret0canary0secret"


def _shown(run: Run) -> dict[str, tuple[object, str]]:
    found = run("config", "--json").json["settings"]
    return {one["name"]: (one["value"], Path(one["source"]).name) for one in found}


def _own(text: str) -> Path:
    path = dataver.machine.configuration.user_config_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.servers
def test_init_remembers_how_the_repository_is_reached(
    run: Run, work: Path, photos: Path, moto_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `init --storage-option` no later command needs one, in this folder and below."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", str(moto_server.options["secret"]))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", str(moto_server.options["key"]))
    url = moto_server.url(f"config/{work.parent.name}")
    given = [f"endpoint_url={moto_server.endpoint}", "region=us-east-1", "path_style=true", "sse=AES256"]
    options = [each for one in given for each in ("--storage-option", one)]
    run("init", url, *options)
    text = (work / ".dataver" / "config.toml").read_text()
    assert 'sse = "AES256"' in text
    assert "path_style = true" in text
    run("sync", photos, "--name", "vision/cats", "-m", "first")
    assert run("fetch", "vision/cats@1.0.0", "--dest", "out", "--json").json["files"] == 5
    assert dataver.open().version("vision/cats").file_count == 5
    (work / "below").mkdir()
    monkeypatch.chdir(work / "below")
    assert "vision/cats" in run("list").out


@pytest.mark.servers
def test_init_keeps_secrets_to_itself(run: Run, work: Path, moto_server: Server) -> None:
    """Keys given on the command line open the repository, and are in no file afterwards."""
    options = [f"endpoint_url={moto_server.endpoint}", "region=us-east-1"]
    options += [f"{name}={moto_server.options[name]}" for name in ("key", "secret")]
    given = [each for one in options for each in ("--storage-option", one)]
    done = run("init", moto_server.url(f"config/{work.parent.name}"), *given)
    assert "Not written: key, secret" in done.err
    text = (work / ".dataver" / "config.toml").read_text()
    assert str(moto_server.options["secret"]) not in text
    assert "key =" not in text
    assert "region" in text


def test_it_says_who_said_what(run: Run, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's file, the project's, the environment: what comes later wins, word by word."""
    _own(
        '[repository]\nurl = "s3://mine/repo"\n[stores."s3://team"]\nprofile = "ana"\nregion = "eu-west-1"\n'
        '[stores."s3://team/data"]\nanon = true\n[stores."s3://tea"]\nsse = "AES256"\n'
    )
    assert _shown(run)["repository.url"] == ("s3://mine/repo", "config.toml")
    run("config", "set", "repository.url", "s3://team/data/repo")
    run("config", "set", "repository.options.profile", "lab")
    run("config", "set", "repository.options.requester_pays", "yes")
    monkeypatch.setenv("DATAVER_S3_STORAGE_CLASS", "STANDARD_IA")
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    found = _shown(run)
    assert found["repository.url"][0] == "s3://team/data/repo"
    options = {name.rpartition(".")[2]: value for name, value in found.items() if ".options." in name}
    assert options == {
        "profile": ("lab", "config.toml"),
        "region": ("eu-north-1", "AWS_REGION"),
        "anon": (True, "config.toml"),
        "requester_pays": (True, "config.toml"),
        "storage_class": ("STANDARD_IA", "DATAVER_S3_STORAGE_CLASS"),
    }
    assert options_for("s3://team/data/repo", {"profile": "given"}) == {
        "profile": "given", "region": "eu-north-1", "anon": True, "requester_pays": True,
        "storage_class": "STANDARD_IA",
    }  # fmt: skip
    monkeypatch.setenv("AWS_PROFILE", "shell")
    assert _shown(run)["repository.options.profile"] == ("shell", "AWS_PROFILE")
    assert "profile" not in (options_for("s3://team/data/repo") or {})  # botocore reads the variable itself
    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", _CANARY)
    found = _shown(run)
    assert "repository.options.profile" not in found
    assert found["credentials"] == ("from the environment", "AWS_ACCESS_KEY_ID")
    assert _CANARY not in run("config").out


def test_options_go_to_no_other_repository(run: Run, work: Path, tmp_path: Path) -> None:
    """What is noted for the project's repository is not given to another, nor to a folder."""
    run("config", "set", "repository.url", "s3://team/repo")
    run("config", "set", "repository.options.endpoint_url", "https://s3.lab.example")
    assert options_for("s3://team/repo/") == {"endpoint_url": "https://s3.lab.example"}
    assert options_for("s3://team/repo2") is None
    assert options_for("s3://other/repo") is None
    assert options_for(str(tmp_path / "repo")) is None
    dataver.init(tmp_path / "repo")


def test_setting_and_unsetting_leave_the_rest_as_it_was(run: Run, work: Path) -> None:
    """Comments and other tables stay; what was set can be read, replaced and taken out."""
    path = work / ".dataver" / "config.toml"
    path.parent.mkdir()
    path.write_text(
        '# ours\n[repository]  # the team\'s\nurl = "s3://team/repo" # since May\n\n[other]\nx = [1,\n2]\n'
    )
    run("config", "set", "repository.options.region", "eu-west-1")
    run("config", "set", "repository.options.region", "eu-west-2")
    assert run("config", "get", "repository.options.region").out.strip() == "eu-west-2"
    run("config", "set", "stores.s3://else/where.anon", "true")
    text = path.read_text()
    assert text.startswith('# ours\n[repository]  # the team\'s\nurl = "s3://team/repo" # since May\n')
    assert "[other]\nx = [1,\n2]\n" in text
    assert '[stores."s3://else/where"]\nanon = true\n' in text
    run("config", "unset", "repository.options.region")
    run("config", "get", "repository.options.region", expect=4)
    assert options_for("s3://else/where/in/it") == {"anon": True}


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("repository.options.secret", _CANARY, "secret"),
        ("repository.options.aws_session_token", _CANARY, "secret"),
        ("repository.options.proxy", f"http://me:{_CANARY}@host", "secret"),
        ("stores.s3://x.key", _CANARY, "secret"),
        ("repository.url", f"sftp://me:{_CANARY}@host/x", "password"),
        ("repository.options.sse", "rot13", "AES256"),
        ("repository.options.anon", "perhaps", "true or false"),
        ("repository.nothing", "x", "unknown setting"),
        ("cache.size", "1GB", "of the machine only"),
    ],
)
def test_what_no_file_may_hold_is_refused(run: Run, work: Path, name: str, value: str, says: str) -> None:
    """A secret or a wrong value is refused by name before anything is written, and is not repeated."""
    run("config", "set", "repository.url", "s3://team/repo")
    before = (work / ".dataver" / "config.toml").read_text()
    done = run("config", "set", name, value, expect=1)
    assert says in done.err
    assert _CANARY not in done.err
    assert (work / ".dataver" / "config.toml").read_text() == before


def test_a_secret_that_somebody_wrote_is_refused_by_every_command(run: Run, work: Path) -> None:
    """A file with a secret opens nothing, and says what to do; the secret is not shown."""
    path = work / ".dataver" / "config.toml"
    path.parent.mkdir()
    path.write_text(f'[repository]\nurl = "s3://team/repo"\n[repository.options]\nsecret = "{_CANARY}"\n')
    for command in (["list"], ["config"], ["config", "set", "repository.options.region", "x"]):
        done = run(*command, expect=1)
        assert "contains a secret (secret)" in done.err
        assert "~/.aws" in done.err
        assert _CANARY not in done.err
    with pytest.raises(InvalidInput, match="secret"):
        dataver.open()


def test_the_users_own_repository_serves_where_no_project_says_another(run: Run, work: Path) -> None:
    """`config set --user` is found from every folder; a relative folder there is beside the file."""
    dataver.init(work / "mine")
    run("config", "set", "repository.url", work / "mine", "--user")
    assert not (work / ".dataver").exists()
    assert dataver.open().url == str(work / "mine")
    run("config", "set", "cache.size", "5GB", "--user")
    assert _shown(run)["cache.size"] == ("5GB", "config.toml")


def test_another_repository_forgets_the_options_of_the_first(run: Run, work: Path) -> None:
    """`init` with another URL leaves none of the first one's options behind."""
    run("config", "set", "repository.url", "s3://team/repo")
    run("config", "set", "repository.options.profile", "lab")
    run("init", "repo")
    found = _shown(run)
    assert found["repository.url"][0] == str(work / "repo")
    assert "lab" not in (work / ".dataver" / "config.toml").read_text()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            'repository = {url = "a", x = 1} # in one line\n',
            'repository = {url = "b", x = 1} # in one line\n',
        ),
        ('repository.url = "a" # dotted\n', 'repository.url = "b" # dotted\n'),
        ('[repository]\nurl = """\na"""\n# end\n', '[repository]\nurl = "b"\n# end\n'),
        ("", '[repository]\nurl = "b"\n'),
        ("[stores.x]\nanon = true\n", '[stores.x]\nanon = true\n\n[repository]\nurl = "b"\n'),
    ],
)
def test_a_setting_changes_in_every_form_of_toml(before: str, after: str) -> None:
    """Inline tables, dotted keys and texts of several lines; what stands beside them stays."""
    assert change_value(before, ("repository", "url"), "b") == after


def test_what_is_removed_leaves_the_rest() -> None:
    """A setting that is not there is no error, and adds no table."""
    assert change_value("a = 1 # one\n", ("repository", "options", "x"), None) == "a = 1 # one\n"
    text = "[repository.options] # ours\nx = 1\ny = 2\n"
    assert change_value(text, ("repository", "options", "x"), None) == "[repository.options] # ours\ny = 2\n"


@pytest.mark.parametrize("value", ['a"b\\c', "\x7f\x01\t\n", "données/日本", "'''", True, 5, 0.5])
def test_every_value_is_read_as_it_was_written(value: str | bool | float) -> None:
    """Quotes, control characters and any script."""
    text = change_value("", ("stores", "s3://x y", "name"), value)
    assert tomllib.loads(text) == {"stores": {"s3://x y": {"name": value}}}
