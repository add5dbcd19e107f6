"""`dataver doctor` names what is wrong with the access to a repository, and the next step."""

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from command_line import Done, Run

from dataver.doctor.store_checks import store_checks
from dataver.storage import MemoryStore, Store, open_store
from servers import Server
from servers.identities import environment_of
from servers.proxy import Break, FaultyNetwork

STORE = [
    *("credentials", "reachable", "list", "read"),
    *("write", "clock", "conditional-writes", "delete"),
]
MACHINE = ["cache", "versions", "extras"]


def states(done: Done) -> dict[str, str]:
    return {each["name"]: each["state"] for each in done.json["checks"]}


def hint(done: Done, name: str) -> str:
    return str(next(each["hint"] for each in done.json["checks"] if each["name"] == name))


def login(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def place(run: Run, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes a repository on a server, and configures it by the environment."""

    def make(server: Server) -> str:
        url = server.url(f"doctor/{secrets.token_hex(6)}")
        login(monkeypatch, server.environment)
        run("init", url, "--no-config")
        monkeypatch.setenv("DATAVER_REPO", url)
        return url

    return make


def policy(prefix: str, *actions: str) -> dict[str, Any]:
    """Return a policy that permits listing a bucket, and actions on the objects below a URL."""
    bucket, _, key = prefix.removeprefix("s3://").partition("/")
    allowed = [("s3:ListBucket", bucket), *((action, f"{bucket}/{key}/*") for action in actions)]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": action, "Resource": f"arn:aws:s3:::{resource}"}
            for action, resource in allowed
        ],
    }


def left_over(server: Server, url: str) -> list[str]:
    return [info.key for info in open_store(url, server.options).list()]


def test_a_folder(run: Run) -> None:
    """In a folder every check passes, in the documented order, and nothing remains in it."""
    run("init", "repo")
    done = run("doctor", "--json")
    assert done.json["ok"] is True
    assert list(states(done)) == ["repository", *STORE, *MACHINE]
    assert set(states(done).values()) == {"ok"}
    assert os.listdir("repo") == ["dataver.json"]
    assert len(run("doctor").out.splitlines()) == 12


def test_each_server(run: Run, s3_server: Server, place: Any) -> None:
    """A right configuration passes; a store that ignores conditions is a warning with what follows."""
    url = place(s3_server)
    done = run("doctor", "--json")
    assert states(done).pop("conditional-writes") == ("ok" if s3_server.exclusive else "warning")
    assert {state for name, state in states(done).items() if name != "conditional-writes"} == {"ok"}
    assert left_over(s3_server, url) == ["dataver.json"]
    text = run("doctor")
    assert s3_server.options["secret"] not in text.out + text.err + done.out
    assert "(from DATAVER_REPO)" in text.out
    assert "the environment (AWS_ACCESS_KEY_ID)" in text.out
    assert ("three more requests" in text.out) is not s3_server.exclusive


@pytest.mark.servers
def test_a_wrong_key(run: Run, seaweedfs_server: Server, place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One failure with its next step, and not one for each check; the wrong secret is not printed."""
    place(seaweedfs_server)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-and-hushed")
    done = run("doctor", "--json", expect=7)
    assert [name for name, state in states(done).items() if state == "failed"] == ["reachable"]
    assert "AWS_PROFILE" in hint(done, "reachable")
    text = run("doctor", expect=7)
    assert "wrong-and-hushed" not in text.out + text.err + done.out


@pytest.mark.servers
def test_no_key(run: Run, moto_server: Server, place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials nothing is asked of the store."""
    place(moto_server)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    done = run("doctor", "--json", expect=7)
    assert states(done)["credentials"] == "failed"
    assert {states(done)[name] for name in STORE[1:]} == {"skipped"}


@pytest.mark.servers
def test_a_read_only_key(
    run: Run, seaweedfs_server: Server, place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader fails the check of writing, with the missing permission; with `--read-only` nothing fails."""
    url = place(seaweedfs_server)
    login(monkeypatch, environment_of(seaweedfs_server, policy(url, "s3:GetObject")))
    done = run("doctor", "--json", expect=7)
    assert [name for name, state in states(done).items() if state == "failed"] == ["write"]
    assert "s3:PutObject" in hint(done, "write")
    assert "--read-only" in hint(done, "write")
    assert states(done)["list"] == states(done)["read"] == "ok"
    with FaultyNetwork(seaweedfs_server.endpoint, lambda _seen: None) as network:
        monkeypatch.setenv("AWS_ENDPOINT_URL", network.endpoint)
        done = run("doctor", "--read-only", "--json")
        assert {seen.method for seen in network.seen} == {"GET"}
    assert {states(done)[name] for name in STORE[4:]} == {"skipped"}


@pytest.mark.servers
def test_a_key_that_may_not_delete_or_list(
    run: Run, seaweedfs_server: Server, place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permissions are checked one by one, and each missing one is named."""
    url = place(seaweedfs_server)
    allowed = policy(url, "s3:GetObject", "s3:PutObject")
    login(monkeypatch, environment_of(seaweedfs_server, allowed))
    done = run("doctor", "--json", expect=7)
    assert [name for name, state in states(done).items() if state == "failed"] == ["delete"]
    assert "s3:DeleteObject" in hint(done, "delete")
    assert "gc" in hint(done, "delete")
    blind = policy(url, "s3:GetObject", "s3:PutObject", "s3:DeleteObject")
    del blind["Statement"][0]
    login(monkeypatch, environment_of(seaweedfs_server, blind))
    done = run("doctor", "--json", expect=7)
    assert [name for name, state in states(done).items() if state == "failed"] == ["list"]
    assert "s3:ListBucket" in hint(done, "list")


@pytest.mark.servers
def test_a_repository_moved_to_a_weaker_store(run: Run, rclone_server: Server, place: Any) -> None:
    """A store that ignores conditions, with a repository that relies on them, is a failure."""
    url = place(rclone_server)
    store = open_store(url, rclone_server.options)
    store.delete("dataver.json")
    run("init", "here", "--no-config")
    store.put("dataver.json", Path("here/dataver.json").read_bytes())
    done = run("doctor", "--json", expect=7)
    assert states(done)["conditional-writes"] == "failed"
    assert "stop all writers" in hint(done, "conditional-writes")


@pytest.mark.servers
@pytest.mark.parametrize(
    ("refusal", "next_step"), [(Break.SKEWED, "timedatectl"), (Break.NO_BUCKET, "make the bucket")]
)
def test_a_store_that_refuses_every_request(
    run: Run,
    moto_server: Server,
    place: Any,
    monkeypatch: pytest.MonkeyPatch,
    refusal: Break,
    next_step: str,
) -> None:
    """A clock that the store refuses, or a missing bucket, is one failure with its next step."""
    place(moto_server)
    with FaultyNetwork(moto_server.endpoint, lambda _seen: refusal) as network:
        monkeypatch.setenv("AWS_ENDPOINT_URL", network.endpoint)
        done = run("doctor", "--json", expect=7)
    assert [name for name, state in states(done).items() if state == "failed"] == ["reachable"]
    assert next_step in hint(done, "reachable")


@pytest.mark.servers
@pytest.mark.parametrize(("minutes", "state"), [(0, "ok"), (5, "warning"), (-5, "warning"), (60, "failed")])
def test_a_clock_that_differs(seaweedfs_server: Server, minutes: int, state: str) -> None:
    """The clock of this machine is compared with the time that the store gives to an object."""
    store = open_store(seaweedfs_server.url("clock"), seaweedfs_server.options)
    clock = {check.name: check for check in checks_at(store, timedelta(minutes=minutes))}["clock"]
    assert clock.state == state
    assert minutes == 0 or ("ahead of" if minutes > 0 else "behind") in clock.text


def checks_at(store: Store, shift: timedelta) -> Iterator[Any]:
    return store_checks(store, read_only=False, now=lambda: datetime.now(UTC) + shift)


def test_a_store_without_a_repository(run: Run) -> None:
    """The location answers, but there is no repository: exit code 4, and `init` is the next step."""
    done = run("doctor", "--repo", "empty", "--json", expect=4)
    assert "dataver init" in hint(done, "reachable")
    assert {check.name: check.state for check in store_checks(MemoryStore(), read_only=False)}[
        "write"
    ] == "ok"


@contextlib.contextmanager
def another_user() -> Iterator[None]:
    """Be a user whose permissions count, unlike root's."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(54321)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_without_write_permission(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of writing fails with the code of stores; reading passes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        run("init", folder / "repo", "--no-config")
        (folder / "repo").chmod(0o555)
        (folder / "repo" / "dataver.json").chmod(0o444)
        monkeypatch.setenv("DATAVER_CACHE", str(folder / "cache"))
        (folder / "cache").mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(folder / "cache", 54321, 54321)
        with another_user():
            done = run("doctor", "--repo", folder / "repo", "--json", expect=7)
            reading = run("doctor", "--repo", folder / "repo", "--read-only", "--json")
        (folder / "repo").chmod(0o755)
    assert [state for state in states(done).items() if state[1] == "failed"] == [("write", "failed")]
    assert "owner and mode" in hint(done, "write")
    assert "failed" not in states(reading).values()


def test_a_cache_that_cannot_be_used(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache at the path of a file fails its check; the repository's checks pass."""
    run("init", "repo")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "file"))
    done = run("doctor", "--json", expect=7)
    assert [name for name, state in states(done).items() if state == "failed"] == ["cache"]
    assert "DATAVER_CACHE" in hint(done, "cache")


@pytest.mark.parametrize(
    ("url", "package", "extra"), [("gs://b/x", "gcsfs", "gcs"), ("abfs://b/x", "adlfs", "azure")]
)
def test_a_missing_extra(run: Run, url: str, package: str, extra: str) -> None:
    """A URL whose package is not installed names the extra."""
    if find_spec(package):
        pytest.skip(f"{package} is installed")
    done = run("doctor", "--repo", url, "--json", expect=1)
    assert states(done)["repository"] == "failed"
    assert f"dataver[{extra}]" in hint(done, "repository")
    assert {states(done)[name] for name in STORE} == {"skipped"}


def test_no_repository_is_configured(run: Run) -> None:
    """That is a warning, and the user's own repository is not created."""
    done = run("doctor", "--json")
    assert states(done)["repository"] == "warning"
    assert "dataver init" in hint(done, "repository")
    assert not Path(done.json["url"]).exists()


def test_a_password_in_a_url_is_not_printed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL with a password is refused, and the password is in no output."""
    monkeypatch.setenv("DATAVER_REPO", "sftp://ana:hush-hush@host/repo")
    done = run("doctor", "--json", expect=1)
    text = run("doctor", expect=1)
    assert "hush-hush" not in done.out + done.err + text.out + text.err
    assert set(states(done)) == {"repository", *STORE, *MACHINE}


@pytest.mark.servers
def test_a_secret_option_is_not_printed(run: Run, moto_server: Server, place: Any) -> None:
    """Keys given as options are used, and not printed."""
    place(moto_server)
    options = ["--storage-option", "key=AKIAOPTION", "--storage-option", "secret=hushed-option"]
    text = run("doctor", *options)
    assert "the storage options" in text.out
    assert "hushed-option" not in text.out + text.err


def test_every_check_is_on_the_page() -> None:
    """docs/operations.md describes each check by its name."""
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    for name in ("repository", *STORE, *MACHINE):
        assert f"| `{name}` |" in page
