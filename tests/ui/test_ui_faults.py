"""What others may write, delete or forbid: the pages say it, and none fails."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import pytest

import dataver
from dataver.formats.event import Event, RunFacts, new_event_id
from dataver.lineage.record.sender import send
from dataver.serving import serve

from .conftest import Pages

FACTS: dict[str, dict[str, Any]] = {
    "number": {"argv": 5, "packages": 5, "git": 5, "python": [1]},
    "true": {"argv": True, "packages": True, "git": {"commit": [1], "diff": ["a"]}},
    "nested": {"argv": [[1], {"a": None}], "packages": ["a"], "user": {"a": 1}},
    "text": {"argv": "abc", "packages": "zz"},
}


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pages]:
    """Two versions of a file, served; for changes."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DATAVER_STATE", str(tmp_path / "state"))
    repo, source = dataver.init(tmp_path / "repo"), tmp_path / "source"
    source.mkdir()
    for number in range(2):
        (source / "a.txt").write_text(f"{number}\n")
        (source / "--log-file=x").write_text("options\n")
        repo.sync(source, "words", workspace=tmp_path / "work")
    reports = list[str]()
    with serve(repo, port=0, report=reports.append) as server:
        yield Pages(repo, server, reports)


def test_facts_of_runs_may_be_any_value(small: Pages) -> None:
    """An event of others holds any JSON values; pages show the run without them."""
    now = datetime.now(UTC)
    runs = [RunFacts(f"x:{key}", "0" * 32, 1, now, facts=facts) for key, facts in FACTS.items()]
    send(small.repo._core, [Event(new_event_id(), now, "a test", run) for run in runs], {})
    for key in FACTS:
        for name, query in (("run", f"key=x:{key}"), ("compare", f"first=x:{key}&second=x:true")):
            for kind in ("", ".json"):
                reply = small.ask(f"/-/{name}{kind}?{query}")
                assert reply.status == 200, (key, reply.text)
        small.repo.lineage.run(f"x:{key}")._repr_html_()
    assert small.document("run", key="x:nested")["packages"] == []
    assert small.document("run", key="x:nested")["command"].startswith("'[1]' ")
    assert small.reports == []


def test_a_deleted_parent_is_named(small: Pages) -> None:
    """Pages of its child show what they have, and why there is no difference."""
    small.repo.delete("words@1.0.0")
    for path in ("", "a.txt"):
        assert "words@1.0.0, was deleted" in small.page("diff", new="words@1.0.1", path=path)
    assert "words@1.0.0, was deleted" in small.page("storage", ref="words@1.0.1", path="a.txt")
    version = small.page("version", ref="words@1.0.1")
    assert 'href="/-/diff?new=words@1.0.1"' in version
    assert "words@1.0.0 <span" in version
    assert "ref=words@1.0.0" not in version
    assert "old=words@1.0.0" not in version
    assert small.ask("/-/diff?old=words@1.0.0&new=words@1.0.1").status == 404


def test_the_command_for_a_file_is_one(small: Pages, tmp_path: Path) -> None:
    """Also if its name begins as an option does."""
    text = small.page("version", ref="words@1.0.1", path="--log-file=x")
    command = unescape(re.search(r"^dataver .* cat .*--log-file=x.*$", text, re.MULTILINE)[0])
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(command.partition("</code>")[0], shell=True, check=True, cwd=tmp_path, env=env)
    assert (tmp_path / "--log-file=x").read_text() == "options\n"


def test_the_last_day_is_a_day(small: Pages) -> None:
    """The day after it cannot be counted."""
    for query in ("until=9999-12-31", "since=9999-12-31", "until=0001-01-01"):
        assert small.ask(f"/-/runs?{query}").status == 200, query


def test_pages_say_that_lineage_is_not_current(
    small: Pages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page that shows runs or uses, also if what it looks for is not found; others do not."""
    monkeypatch.setattr("dataver.lineage.lineage._FRESH", 0.0)
    shutil.rmtree(tmp_path / "repo/lineage", ignore_errors=True)
    (tmp_path / "repo/lineage").symlink_to("lineage")  # a loop, which no system follows
    for path in ("datasets", "dataset?name=words", "version?ref=words", "runs", "run?key=x:1", "lineage"):
        assert "The lineage could not be updated" in small.ask(f"/-/{path}").text, path
    assert small.document("runs")["lineage_problem"]
    assert "could not be updated" not in small.page("diff", new="words@1.0.1")


def test_pages_say_that_descriptions_are_refused(small: Pages, tmp_path: Path) -> None:
    """Pages of versions have all else, also when they are asked for again; others do not mention it."""
    small.repo.version("words@1.0.1").describe("hidden")
    shutil.rmtree(tmp_path / "repo/descriptions")
    (tmp_path / "repo/descriptions").symlink_to("descriptions")  # a loop, which no system follows
    for path in ("datasets", "dataset?name=words", "version?ref=words", "version?ref=words&path=a.txt"):
        for _ in range(2):
            reply = small.ask(f"/-/{path}")
            assert (reply.status, "Descriptions could not be read" in reply.text) == (200, True), path
    assert small.document("datasets")["description_problem"]
    for path in ("diff?new=words@1.0.1", "storage?ref=words&path=a.txt", "lineage?ref=words"):
        reply = small.ask(f"/-/{path}")
        assert (reply.status, "could not be read" in reply.text) == (200, False), path
    assert small.reports == []


def test_long_texts_of_others_are_cut(small: Pages) -> None:
    """In lists to some words; a run's own page has its beginning."""
    now = datetime.now(UTC)
    for number in range(20):
        run = RunFacts(f"x:{number}", "0" * 32, 1, now, name=f"{number} " + "long <name>" * 40_000)
        send(small.repo._core, [Event(new_event_id(), now, "a test", run)], {})
    for path in ("runs", "datasets?q=long&search=1", "lineage?q=long", "compare?first=x:1&second=x:2"):
        text = small.ask(f"/-/{path}").text
        assert "long &lt;name" in text, path
        assert len(text) < 60_000, (path, len(text))
    assert 10_000 < len(small.page("run", key="x:1")) < 60_000
    assert len(small.document("runs")["runs"][0]["name"]) > 400_000
    small.repo.version("words@1.0.1").describe("word " * 100_000, owner="o" * 10_000)
    for path in ("datasets", "version?ref=words@1.0.1"):
        assert len(small.ask(f"/-/{path}").text) < 60_000, path
