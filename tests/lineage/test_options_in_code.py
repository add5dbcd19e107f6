"""A repository whose endpoint, or keys, only the program's code names: its lineage is sent all the same.

Workers leave what they read to the process that started them, and a launcher reports how a program ended:
both have to open a repository that others have used.
"""

import json
import shutil
import sys
import time
from pathlib import Path

import pytest

import dataver
from dataver.repository.events import Events
from dataver.storage import open_store
from servers.s3 import Server
from waiting import until

from .lab import Lab

pytestmark = pytest.mark.servers

DRIVER = """
import json, multiprocessing, os, sys
import dataver

def read(url, options):
    assert dataver.open(url, storage_options=options).files("cats").read("a.txt") == b"a"

if __name__ == "__main__":
    url, options, opened, method = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], sys.argv[4]
    with dataver.run(key="t:driver"):
        repo = dataver.open(url, storage_options=options) if opened == "opened" else None
        worker = multiprocessing.get_context(method).Process(target=read, args=(url, options))
        worker.start()
        worker.join()
        assert worker.exitcode == 0
    for folder, _, names in os.walk(os.environ["DATAVER_STATE"]):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                assert all(secret.encode() not in file.read() for secret in sys.argv[5:])
"""


@pytest.fixture
def cats(seaweedfs_server: Server, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """The URL of a repository with one version of `cats`."""
    url = seaweedfs_server.url(request.node.name.replace("[", "-").strip("]"))
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "a.txt").write_text("a")
    repo = dataver.init(url, storage_options=seaweedfs_server.options)
    repo.sync(tmp_path / "cats", "cats", workspace=tmp_path / "drafts")
    return url


def linked(server: Server, url: str) -> set[tuple[str, str | None, int]]:
    """Return each run in the repository with its outcome and its number of links."""
    events = Events(open_store(url, server.options))
    every = [event for info in events.list() for event in events.get(info.key)]
    return {(event.run.key, event.run.outcome, len(event.links)) for event in every}


def nowhere(server: Server) -> dict[str, str]:
    """Return keys for the server, without its address."""
    return {name: value for name, value in server.environment.items() if "ENDPOINT" not in name}


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_what_workers_read_reaches_an_endpoint_that_only_they_were_given(
    lab: Lab, seaweedfs_server: Server, cats: str, method: str
) -> None:
    """The driver opens nothing itself: the workers say where, without secrets."""
    options = json.dumps({"endpoint_url": seaweedfs_server.endpoint})
    said = lab.run(DRIVER, cats, options, "", method, environment=nowhere(seaweedfs_server))
    assert "LineageWarning" not in said
    assert linked(seaweedfs_server, cats) == {("t:driver", "finished", 1)}


def test_keys_in_code_are_used_and_not_written(lab: Lab, seaweedfs_server: Server, cats: str) -> None:
    """The driver has opened the repository with them, and so can send what a worker read."""
    options = json.dumps({"endpoint_url": seaweedfs_server.endpoint, **seaweedfs_server.options})
    secrets = [seaweedfs_server.options[name] for name in ("key", "secret")]
    said = lab.run(DRIVER, cats, options, "opened", "spawn", *secrets)
    assert "LineageWarning" not in said
    assert linked(seaweedfs_server, cats) == {("t:driver", "finished", 1)}


def test_the_launcher_reports_to_an_endpoint_that_the_program_named(
    lab: Lab, seaweedfs_server: Server, cats: str
) -> None:
    """`dataver run` knows it from the program's process."""
    options = json.dumps({"endpoint_url": seaweedfs_server.endpoint})
    script = lab.work / "program.py"
    script.write_text(DRIVER.replace("if __name__", "read(sys.argv[1], json.loads(sys.argv[2]))\nif False"))
    command = ("run", "--run", "t:launched", "--", sys.executable, str(script), cats, options)
    done = lab.command(*command, environment=nowhere(seaweedfs_server))
    assert done.returncode == 0 and "LineageWarning" not in done.stderr, done.stderr
    until(lambda: ("t:launched", "finished", 0) in linked(seaweedfs_server, cats))


def test_a_repository_that_cannot_be_opened_keeps_no_other_from_its_lineage(lab: Lab, tmp_path: Path) -> None:
    """What its worker read waits in the queue, and the warning names it."""
    places = [lab.root / name for name in ("a-repository", "z-repository")]
    for place in places:
        shutil.copytree(lab.repository, place)
    said = lab.run(
        """
        import multiprocessing, shutil, sys
        import dataver

        def read(*urls):
            for url in urls:
                dataver.open(url).files("cats").read("labels.csv")

        if __name__ == "__main__":
            with dataver.run(key="t:driver"):
                worker = multiprocessing.get_context("spawn").Process(target=read, args=sys.argv[1:3])
                worker.start()
                worker.join()
                shutil.rmtree(sys.argv[3])
        """,
        *map(str, places),
        str(places[0]),
    )
    assert "LineageWarning" in said and "a-repository" in said
    events = Events(open_store(str(places[1])))
    assert {event.run.key for info in events.list() for event in events.get(info.key)} == {"t:driver"}
    (left,) = (lab.root / "state").glob("lineage/*/queue/*.json")
    assert str(places[0]).encode() in left.read_bytes()


@pytest.mark.slow
def test_a_store_that_never_answers_delays_the_exit_by_ten_seconds(lab: Lab) -> None:
    """Where only a worker has used it: what it left waits in the queue."""
    said = lab.run(
        """
        import json, os, socket, time
        from pathlib import Path
        import dataver
        from dataver.lineage.attribution.state import STATE

        silent = socket.create_server(("127.0.0.1", 0))
        where = {"endpoint_url": f"http://127.0.0.1:{silent.getsockname()[1]}", "anon": True}
        queue = Path(os.environ["DATAVER_STATE"], "lineage", "other", "queue")
        queue.mkdir(parents=True)
        head = {"parent": STATE.process, "url": "s3://bucket/other", "options": where}
        queue.joinpath(f"{'a' * 32}.json").write_text(f"#{json.dumps(head)}\\n")
        dataver.fetch("cats")
        print(time.time())
        """
    )
    assert 8 < time.time() - float(said.split()[-1]) < 15
    assert [path.name for path in (lab.root / "state").glob("lineage/other/queue/*")] == [f"{'a' * 32}.json"]
    assert {("input", "1.0.1", "fetch")} in lab.links().values()
