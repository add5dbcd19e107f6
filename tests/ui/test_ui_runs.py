"""Lists of runs, one run, and two beside each other."""

from datetime import UTC, datetime

from dataver.formats.event import Context
from dataver.lineage.queries.results import IndexedRun
from dataver.ui.runs import row


def test_runs_are_filtered(pages):
    """By each value of the query, as `dataver runs` does."""
    assert [each["run"] for each in pages.document("runs", name="SWEEP")["runs"]] == [
        f"lab:{number}" for number in range(9, 2, -1)
    ]
    for query, number in (
        ({"system": "lab"}, 10),
        ({"system": "mlflow"}, 1),
        ({"version": "models/cats"}, 3),
        ({"version": "vision/cats@1.0.1", "name": "train"}, 3),
        ({"outcome": "failed"}, 1),
        ({"until": "2020-01-01"}, 0),
        ({"since": "2020-01-01", "name": "train"}, 3),
    ):
        assert len(pages.document("runs", **query)["runs"]) == number, query
    assert "No run matches" in pages.page("runs", outcome="killed")
    for bad in ("since=x", "until=2026-02-30", "outcome=x"):
        assert pages.ask(f"/-/runs?{bad}").status == 400
    assert pages.ask("/-/runs?version=none").status == 404


def test_runs_say_what_they_read(pages):
    """What is certain of each; of the runs of a version or dataset, how each used it."""
    found = {each["run"]: each for each in pages.document("runs", version="vision/cats@1.0.1")["runs"]}
    assert found["lab:1"]["read"] == ["vision/cats@1.0.1"]
    expected = pages.repo.lineage.version("vision/cats@1.0.1")
    readers = {run.key for run, link in expected.consumed if link.used}
    assert {key for key, each in found.items() if each["how"] == "input"} == readers
    assert {each["how"] for each in found.values()} == {"input", "output", "available"}
    makers = pages.document("runs", version="models/cats")["runs"]
    assert {each["how"] for each in makers} == {"output"}
    text = pages.page("runs", version="vision/cats@1.0.1")
    for part in ("made it", "read it", "perhaps read it"):
        assert part in text
    assert "<th>How</th>" not in pages.page("runs")


def test_a_run_has_its_facts_and_its_data(pages):
    """What `lineage run --json` has, with the packages and a part of each version."""
    found = pages.document("run", key="lab:1")
    assert found["name"] == "train 1"
    assert "vision/cats@1.0.1" in [each["ref"] for each in found["inputs"] if each["how"] == "fetch"]
    assert [each["ref"] for each in found["outputs"]] == ["models/cats@1.0.1"]
    how = [each["how"] for each in found["inputs"]]
    assert "available" not in how[: found["used"]]
    assert set(how[found["used"] :]) == {"available"}
    assert "ui/example.py" in found["command"]
    assert found["number_of_packages"] == len(found["packages"]) > 20
    assert any(each.startswith("pytest==") for each in found["packages"])
    text = pages.page("run", key="lab:1")
    for part in ("dataver fetch --run lab:1", "/-/lineage?run=lab:1", "/-/version?ref=models/cats@1.0.1"):
        assert part in text
    assert text.index('id="inputs"') < text.index("vision/cats@1.0.1") < text.index("Could have read")
    assert pages.ask("/-/run?key=none").status == 404


def test_trackers_are_linked_and_their_texts_are_text(pages):
    """In each page that shows a run; an address that is no web page is not a link."""
    node = next(each for each in pages.document("lineage", run="4f1c")["nodes"] if each["kind"] == "run")
    for text in (
        pages.page("run", key="mlflow:4f1c"),
        pages.page("runs", system="mlflow"),
        pages.page("lineage", run="4f1c", at=node["id"]),
        pages.page("compare", first="mlflow:4f1c", second="lab:0"),
    ):
        assert 'href="https://mlflow.example/#/r" rel="noreferrer"' in text
        assert 'href="javascript' not in text
        assert "<img" not in text.replace('<img src="/-/static/icon.svg', "")
        assert "<b>night" not in text
    facts = {each["name"]: each for each in pages.document("compare", first="4f1c", second="lab:0")["facts"]}
    assert facts["user"]["first"] == "ana"
    assert (
        pages.document("compare", first="4f1c", second="lab:0")["packages"] == []
    )  # those of one are unknown
    words = pages.document("compare", first="4f1c", second="lab:0")["commands"][0]
    assert {"text": "--rate=0.1", "only": True} in words


def test_two_runs_are_compared_by_content(pages):
    """What `lineage compare` finds, with links to the difference."""
    found = pages.document("compare", first="lab:0", second="lab:1")
    expected = pages.repo.lineage.compare("lab:0", "lab:1")
    assert found["same"] == expected.same
    assert len(found["pairs"]) == len(expected.pairs)
    text = pages.page("compare", first="lab:0", second="lab:1")
    assert "The two runs read" in text
    assert "Data that both could have read" in text
    assert pages.document("compare", first="lab:3", second="lab:3")["same"]
    assert pages.ask("/-/compare?first=lab:0").status == 400


def test_only_pages_of_the_web_are_linked():
    """A context's `url` is untrusted; other schemes are not links."""
    urls = (
        "https://mlflow.example/#/r",
        "http://x/",
        "javascript:alert(1)",
        "//x",
        "http://[",
        "https://a\nb",
        5,
    )
    contexts = tuple(
        Context("mlflow", str(number), "tracker", {"url": url})  # type: ignore[dict-item]
        for number, url in enumerate(urls)
    )
    run = IndexedRun(row=1, key="mlflow:0", started=datetime(2026, 1, 1, tzinfo=UTC), contexts=contexts)
    assert [each["url"] for each in row(run)["pages"]] == list(urls[:2])
