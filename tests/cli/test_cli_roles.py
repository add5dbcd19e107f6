"""The policies of docs/operations.md: each role may run its commands, and no others, on a real server."""

import json
import random
import re
import secrets
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from command_line import Done, Run

from dataver.formats.event import RunFacts
from dataver.lineage.record.run import event_of
from dataver.repository import open_repository
from dataver.storage import open_store
from dataver_cli.main import main
from servers import Server
from servers.identities import environment_of

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
BUCKET, PREFIX = "ml-data", "repo"  # of the examples on the page
POLICIES: dict[str, str] = {
    title.lower(): policy
    for title, policy in re.findall(
        r"^### (\w[\w ]*)\n(?:(?!^### ).)*?^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL
    )
}


def table() -> tuple[list[str], dict[str, list[str]]]:
    """Return the roles of the page's table, and its cells for each command."""
    lines = PAGE[PAGE.index("| command | reader |") :].partition("\n\n")[0].splitlines()
    roles, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    found = {}
    for commands, *cells in rows:
        for command in commands.split(", "):
            found[command.replace("`", "")] = cells
    return roles[1:], found


ROLES, ALLOWED = table()
POLICIES["group publisher"] = (
    POLICIES["publisher"]
    .replace("datasets/*.json", "datasets/vision/*.json")
    .replace("descriptions/*", "descriptions/vision/*")
    .replace("profiles/*", "profiles/vision/*")
)


class World:
    """A repository with versions, a place to work in, and a user with the policy of a role."""

    def __init__(
        self,
        run: Run,
        server: Server,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.run, self.server, self.tmp_path = run, server, tmp_path
        self._monkeypatch, self._capsys = monkeypatch, capsys
        self.prefix = f"roles/{secrets.token_hex(6)}"
        self.url = server.url(self.prefix)
        self.chance = random.Random(1)
        self.become("owner", server.environment)
        run("init", self.url, "--no-config")
        run("sync", self.folder("first"), "--name", "d", "-m", "first")
        run("sync", self.folder("second"), "--name", "d", "-m", "second", "--allow-shrink")
        run("sync", self.folder("vision"), "--name", "vision/d", "-m", "vision")
        run("init", tmp_path / "source", "--no-config")
        run(
            "sync", self.folder("pushed"), "--name", "vision/pushed", "-m", "p", "--repo", tmp_path / "source"
        )
        run("init", tmp_path / "target", "--no-config")

    def become(self, role: str, environment: Mapping[str, str]) -> None:
        """Work as a user, with a cache and a state of its own."""
        for name, value in environment.items():
            self._monkeypatch.setenv(name, value)
        self._monkeypatch.setenv("DATAVER_REPO", self.url)
        self._monkeypatch.setenv("DATAVER_CACHE", str(self.tmp_path / f"cache {role}"))
        self._monkeypatch.setenv("DATAVER_STATE", str(self.tmp_path / f"state {role}"))
        here = self.tmp_path / f"work {role}"
        here.mkdir(exist_ok=True)
        self._monkeypatch.chdir(here)

    def policy(self, role: str) -> Any:
        """Return the policy of the page for this repository."""
        text = POLICIES[role].replace(f"{BUCKET}/{PREFIX}/", f"{self.server.bucket}/{self.prefix}/")
        text = text.replace(f":::{BUCKET}", f":::{self.server.bucket}")
        return json.loads(text.replace(f'"{PREFIX}/', f'"{self.prefix}/'))

    def folder(self, name: str) -> Path:
        """Return a new folder with files that no version has."""
        folder = self.tmp_path / f"{name} {secrets.token_hex(4)}"
        folder.mkdir()
        for each in ("large", "small"):
            (folder / each).write_bytes(self.chance.randbytes(300_000 if each == "large" else 30_000))
        (folder / "note").write_text(name)
        return folder

    def waste(self) -> None:
        """Publish and delete versions as the owner, so that `repack` and `gc` have work."""
        self.become("owner", self.server.environment)
        data = self.folder("waste")
        for number in range(2):
            name = f"waste/{secrets.token_hex(4)}"
            self.run("sync", data, "--name", name, "-m", "w")
            (data / "large").unlink(missing_ok=True)
            self.run("sync", data, "--name", f"kept/{secrets.token_hex(4)}", "-m", "k")
            self.run("delete", f"{name}@1.0.0", "--yes")
            data = self.folder(f"waste {number}")
        self.run("sync", data, "--name", f"{name}x", "-m", "w")
        self.run("delete", f"{name}x@1.0.0", "--yes")

    def many_runs(self) -> None:
        """Write events, so that `lineage compact` has work."""
        events = open_repository(self.url, self.server.options).events
        runs = (RunFacts(f"dataver:{each:032x}", f"{each:032x}", 1, datetime.now(UTC)) for each in range(60))
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(events.put, map(event_of, runs)))

    def events(self) -> int:
        """Return the number of recorded events."""
        store = open_store(self.url, self.server.options)
        return sum(1 for info in store.list("lineage/") if info.key.endswith((".json", ".bundle")))

    def attempt(self, lines: Sequence[Sequence[object]]) -> Done:
        """Run command lines until one fails; return what the last one did."""
        for line in lines:
            self._capsys.readouterr()
            code = main([str(each) for each in line])
            done = Done(code, *self._capsys.readouterr())
            if code:
                break
        return done

    def record(self) -> bool:
        """Run a child process that fetches a version; return whether the repository has its event."""
        before = self.events()
        self._monkeypatch.delenv("DATAVER_LINEAGE")
        self.run("run", "-q", "--", sys.executable, "-m", "dataver_cli", "fetch", "d", "-q")
        self._monkeypatch.setenv("DATAVER_LINEAGE", "off")
        return self.events() > before


@pytest.fixture
def world(
    run: Run,
    seaweedfs_server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> World:
    return World(run, seaweedfs_server, tmp_path, monkeypatch, capsys)


def commands(world: World, role: str) -> dict[str, list[list[Any]]]:
    """Return the command lines for each command of the table; the last one of each needs the permission."""
    mine = f"vision/{role.replace(' ', '-')}"
    return {
        **{name: [[name, "d"]] for name in ("show", "ls", "log", "audit", "diff", "du", "lock", "fetch")},
        "list": [["list"]],
        "cat": [["cat", "d", "note"]],
        "verify": [["verify"]],
        "pull from it": [["pull", "--repo", world.tmp_path / "target", world.url, "d"]],
        "mirror from it": [["mirror", world.url, world.tmp_path / f"copy {role}"]],
        "lineage version": [["lineage", "version", "d"]],
        "lineage verify": [["lineage", "verify"]],
        "doctor --read-only": [["doctor", "--read-only"]],
        "doctor": [["doctor"]],
        "sync": [["sync", world.folder("mine"), "--name", mine, "-m", "m"]],
        "add --upload": [
            ["create", f"{mine}-streamed"],
            ["add", "--upload", world.folder("streamed")],
            ["finalize", "-q", "-m", "m"],
            ["upload"],
        ],
        "add-external": [
            ["create", f"{mine}-external"],
            ["add-external", world.folder("external"), "--dest", "there"],
            ["finalize", "-q", "-m", "m"],
            ["upload"],
        ],
        "restore": [
            ["sync", world.folder("older"), "--name", f"{mine}-restored", "-m", "m"],
            ["sync", world.folder("newer"), "--name", f"{mine}-restored", "-m", "m", "--allow-shrink"],
            ["restore", f"{mine}-restored@1.0.0"],
        ],
        "push to it": [["push", "--repo", world.tmp_path / "source", world.url, "vision/pushed"]],
        "tag": [["tag", "vision/d@1.0.0", f"by-{role.replace(' ', '-')}"]],
        "untag": [["untag", "vision/d@theirs"]],
        "describe": [["describe", "vision/d", "-m", role], ["describe", "vision/d", "--dataset", "-m", role]],
        "describe of another group": [["describe", "d@1.0.0", "-m", role]],
        "tag of another group": [["tag", "d@1.0.0", f"by-{role.replace(' ', '-')}"]],
        "gc --plan": [["gc", "--plan", "--grace", "0"]],
        "delete": [["delete", "doomed@1.0.0", "--yes"]],
        "rename": [["rename", "misnamed", f"{mine}-renamed", "--yes"]],
        "repack": [["repack", "--yes"]],
        "gc": [["gc", "--yes", "--grace", "0", "--yes-delete-most"]],
        "lineage compact": [["lineage", "compact", "--yes", "--older-than", "0"]],
        "init": [["init", f"{world.url}/new", "--no-config"]],
    }


@pytest.mark.slow
@pytest.mark.servers
@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_run_its_commands_and_no_others(world: World, role: str) -> None:
    """Each command of the table succeeds, or is refused with a sentence that names the permission."""
    world.run("tag", "vision/d@1.0.0", "theirs")
    for name in ("doomed", "misnamed"):
        world.run("sync", world.folder(name), "--name", name, "-m", "m")
    world.waste()
    world.many_runs()
    world.become(role, environment_of(world.server, world.policy(role)))
    column = ROLES.index(role)
    lines = commands(world, role)
    assert {*lines, "run recorded"} == set(ALLOWED)
    found = {}
    for name, each in lines.items():
        done = world.attempt(each)
        found[name] = "yes" if done.code == 0 else "refused"
        assert done.code in (0, 3, 7), (name, done)
        assert done.code == 0 or "refuses permission (AccessDenied)" in done.out + done.err, (name, done)
    found["run recorded"] = "yes" if world.record() else "refused"
    assert found == {name: cells[column] for name, cells in ALLOWED.items()}
    world.become("owner", world.server.environment)
    if found["sync"] == "yes":  # the role published the new name
        assert world.run("list", lines["rename"][0][2], "--json").json
    for line in lines["rename"]:
        world.run(*line)  # completes it
    world.run("verify")
