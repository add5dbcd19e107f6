"""What public objects show in a notebook: HTML that is small, safe and made with little reading."""

import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import dataver
from dataver.api import diff as diffs
from dataver.api import notebook
from dataver.lineage.queries.compare import Comparison
from dataver.lineage.queries.drawing import Node, draw
from dataver.lineage.queries.results import IndexedRun, IndexedVersion
from dataver.lineage.queries.versions import Edge, Graph
from dataver.repository import open_repository
from dataver.testing.faulty import FaultyStore

HOSTILE = "<script>alert('x')</script>\"&<img src=x onerror=y>\u202e\x1b[31m"
TAGS = {"div", "span", "b", "table", "tr", "th", "td", "svg", "path", "rect", "text", "title"}
ATTRIBUTES = {
    *("style", "title", "xmlns", "role", "width", "height", "viewbox", "fill", "x", "y", "rx", "d", "stroke"),
    *("stroke-width", "stroke-opacity", "fill-opacity", "font-size", "stroke-dasharray"),
}
WHEN = datetime(2026, 11, 1, tzinfo=UTC)


class Page(HTMLParser):
    """Parses a piece of HTML: raises an error unless it has known tags and attributes only, well nested."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.said = ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        assert {name for name, _ in attrs} <= ATTRIBUTES
        assert not any("url(" in (value or "") for _, value in attrs)
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said += f"{data}\n"


def shown(value: Any) -> str:
    """Return the text of an object's HTML, which is safe and small."""
    html = value._repr_html_()
    assert len(html.encode()) < 200_000
    said = Page(html).said
    assert said.replace("\n", "").isprintable()
    return said


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dataver.Repository:
    """Two versions, whose names and texts are hostile; the second one is described and tagged."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DATAVER_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("DATAVER_AUTHOR", HOSTILE)
    monkeypatch.setenv("DATAVER_LINEAGE", "on")
    monkeypatch.chdir(tmp_path)
    repo = dataver.init(tmp_path / "repo")
    source = tmp_path / "source"
    (source / HOSTILE[:-5].replace("/", "")).mkdir(parents=True)  # no control character: `add` refuses it
    (source / HOSTILE[:-5].replace("/", "") / "a.jpg").write_bytes(b"a")
    (source / "b.jpg").write_bytes(b"b" * 2_000)
    with dataver.run(name=HOSTILE):
        repo.sync(source, "vision/cats", message=HOSTILE, metadata={HOSTILE: [HOSTILE]})
        (source / "b.jpg").rename(source / "c.jpg")
        (source / "d.jpg").write_bytes(b"d")
        version = repo.sync(source, "vision/cats", message="July").version
    assert version is not None
    version.describe(HOSTILE, owner=HOSTILE, license="CC-BY-4.0")
    version.tag("production")
    return repo


def test_a_version_shows_what_is_known_of_it(repo: dataver.Repository) -> None:
    """Name, content, tags, origin, description, metadata, and the names at its top."""
    said = shown(repo.version("vision/cats"))
    for text in (
        *("vision/cats@1.0.1", "3 files, 2.0 kB", "production", "vision/cats@1.0.0", "CC-BY-4.0"),
        *("July", "c.jpg", "1 entry", ".jpg\nimage\n3\n2.0 kB"),
    ):
        assert text in said
    assert "<img src=x onerror=y>\\u202e\\x1b[31m" in said
    assert shown(repo.version("vision/cats@1.0.0")).count("onerror") == 5


def test_a_difference_shows_its_paths(repo: dataver.Repository) -> None:
    """What was added, removed, modified and renamed, with sizes."""
    said = shown(repo.diff("vision/cats")).replace("\n", " ")
    assert said.startswith("1 added, 1 renamed   difference")
    assert "b.jpg → c.jpg 2.0 kB" in said
    assert "added d.jpg 1 B" in said
    same = repo.version("vision/cats")
    assert shown(same.diff(same)).startswith("no differences")


def test_a_draft_shows_its_changes(repo: dataver.Repository) -> None:
    """Its content, its parents and the first changes; also when it is sealed."""
    draft = repo.create("vision/cats", parents="vision/cats")
    draft.remove("d.jpg")
    said = shown(draft).replace("\n", " ")
    for text in (f"vision/cats   draft {draft.id} · open", "content 2 files, 2.0 kB changed 1 path"):
        assert text in said
    assert "removed d.jpg" in said
    version = draft.finalize("without d")
    assert "sealed" in shown(draft)
    assert "vision/cats@(not uploaded)" in shown(version)


def test_a_repository_shows_its_datasets(repo: dataver.Repository, tmp_path: Path) -> None:
    """Each with the number of its versions, and its latest one."""
    assert "vision/cats 2 1.0.1 3 2.0 kB" in shown(repo).replace("\n", " ")
    assert "no datasets" in shown(dataver.init(tmp_path / "empty"))


def test_lineage_shows_a_drawing(repo: dataver.Repository) -> None:
    """Answers about versions and runs draw causes and effects; the others are tables."""
    lineage = repo.lineage
    (run,) = lineage.runs()
    for answer in (lineage.graph("vision/cats@1.0.0"), lineage.version("vision/cats"), lineage.run(run.key)):
        html = answer._repr_html_()
        assert html.count("<svg") > 2
        assert {"vision/cats@1.0.0", "vision/cats@1.0.1"} <= set(shown(answer).splitlines())
    assert "c.jpg" in shown(lineage.file("c.jpg"))
    assert "affected" in shown(lineage.impact("vision/cats@1.0.0"))
    same = lineage.compare(run.key, run.key)
    assert shown(same).startswith("the same data")
    assert isinstance(same, Comparison)
    lineage.close()


def test_long_names_and_many_values_stay_small(repo: dataver.Repository, tmp_path: Path) -> None:
    """The limit holds for the longest names of characters that become longest in HTML."""
    source = tmp_path / "many"
    for number in range(60):
        (source / f"{number:03d}{'&' * 240}").mkdir(parents=True)
        (source / f"{number:03d}{'&' * 240}" / ("'" * 250)).write_bytes(b"%d" % number)
    longest = {f"{number}{'&' * 5_000}": ["<" * 5_000] for number in range(60)}
    version = repo.sync(source, "many", message="'" * 9_000, metadata=longest).version
    assert version is not None
    for file in source.glob("*/*"):
        file.rename(file.with_name('"' * 250))
    repo.sync(source, "many")
    longest_path = f"000{'&' * 240}/{chr(39) * 250}"
    for each in (version, repo.diff("many"), repo.diff("many@1.0.0"), repo.lineage.file(longest_path)):
        assert "…" in shown(each)
    draft = repo.create("many")
    draft.add(source)
    assert "changed\n60 paths" in shown(draft)


def test_a_repository_that_is_gone_costs_a_sentence(repo: dataver.Repository, tmp_path: Path) -> None:
    """What is known without reading is shown, with the reason why the rest is not."""
    version, draft = repo.version("vision/cats"), repo.create("vision/cats", parents="vision/cats")
    for name in ("repo", "cache"):
        (tmp_path / name).rename(tmp_path / f"former {name}")
    for each, known in ((version, "July"), (draft, draft.id), (repo, repo.url)):
        said = shown(each)
        assert known in said
        assert "is missing from" in said or "no datasets" in said
        assert repr(each)


class Silent(FaultyStore):
    """A store that does not answer."""

    def list(self, *_: Any, **__: Any) -> Iterator[Any]:
        """Wait."""
        threading.Event().wait()
        yield


def test_a_repository_that_does_not_answer_costs_little_time(
    repo: dataver.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notebook goes on; what is known is shown."""
    monkeypatch.setattr(notebook, "_PATIENCE", 0.01)
    version = repo.version("vision/cats")
    core = open_repository(repo.url)
    version._repository = repo._core = type(core)(Silent(core.store), core.config)
    for each, known in ((version, "July"), (repo, repo.url)):
        said = shown(each)
        assert known in said
        assert "has not answered" in said


def test_a_large_difference_is_not_searched_for_renames(
    repo: dataver.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither representation reads the trees again to find them; `summary` does."""
    monkeypatch.setattr(diffs, "_KEPT", 1)
    diff = repo.diff("vision/cats")
    assert repr(diff) == "Diff(added=2, removed=1, modified=0)"
    assert "2 added, 1 removed" in shown(diff)
    assert diff.summary()["renamed"] == 1
    assert repr(diff) == "Diff(added=1, removed=0, modified=0, renamed=1)"


def test_a_drawing_has_layers() -> None:
    """Each effect is to the right of its causes, no box covers another one, and a circle does no harm."""
    nodes = {name: Node("run" if name in "be" else "version", name, "", name) for name in "abcdef"}
    edges = [(*pair, "input") for pair in ("ab", "bc", "ac", "ed", "cd", "df")]
    links = [(nodes[source], nodes[target], label) for source, target, label in edges]
    html = draw(nodes["c"], links)
    Page(html)
    found = re.findall(r"<svg x='(\d+)' y='(\d+)'.*?<text[^>]*>(\w)<", html)
    places = {name: (int(x), int(y)) for x, y, name in found}
    assert places.keys() == nodes.keys()
    assert len(set(places.values())) == len(places)
    for source, target, _ in edges:
        assert places[source][0] < places[target][0]
    assert places["e"][0] == places["c"][0]  # beside its effect
    circle = [(nodes["d"], nodes["a"], "input"), (nodes["a"], nodes["a"], "input")]
    Page(draw(nodes["c"], links + circle))
    assert draw(nodes["c"], []).count("<rect") == 1


def test_a_drawing_of_a_large_graph_is_small() -> None:
    """Of 10,000 versions and as many runs, the nearest ones are drawn; the others are counted."""
    versions = {
        f"v{n}": IndexedVersion(row=n, record="", dataset="'" * 200, label=f"{n}", created=WHEN)
        for n in range(10_000)
    }
    runs = {
        f"r{n}": IndexedRun(row=n, key=f"mlflow:{n}{'&' * 400}", name="&" * 400, started=WHEN)
        for n in range(10_000)
    }
    chain = {Edge(f"v{n}", f"v{n + 1}", "parent") for n in range(9_999)}
    edges = chain | {Edge(f"r{n}", f"v{m}", "output") for n in range(10_000) for m in range(n, n + 3)}
    said = shown(Graph("v5000", versions, runs, edges))
    assert "19,940 more nodes" in said
    few = dict(islice(versions.items(), 20)), dict(islice(runs.items(), 20))
    edges = {Edge(f"v{n}", f"r{m}", "input") for n in range(20) for m in range(20)}
    assert "220 more edges" in shown(Graph("v5", *few, edges))
