"""From results to tables: medians, ratios, targets, the README."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.figures import Figures
from benchmarks.report import markdown
from benchmarks.results import Result, keep_finished, read_results, write_result
from benchmarks.short import BEGIN, END, fill, short_form
from benchmarks.targets import read_million, targets

ROOT = Path(__file__).parents[2]


def row(tool: str, operation: str, wall: float | None = None, *, run: int = 1, **more: object) -> Result:
    facts = {
        "dataset": "table",
        "scale": 1.0,
        "version": "1",
        "source_bytes": 10**6,
        "source_files": 4,
    } | more
    return Result(tool=tool, operation=operation, wall_s=wall, run=run, **facts)  # type: ignore[arg-type]


def adds(tool: str, one: int, two: int) -> list[Result]:
    return [
        row(tool, f"add-v{number}", 1.0, stored_bytes=size, stored_on_disk=size, stored_objects=1)
        for number, size in ((1, one), (2, two))
    ]


def test_a_ratio_compares_the_rounds_that_both_took_part_in() -> None:
    """A tool measured in the first round alone is not compared with dataver's later rounds."""
    results = [row("dataver", "add-v1", wall, run=run) for run, wall in ((1, 2.0), (2, 1.0), (3, 1.0))]
    figures = Figures([*results, row("bup", "add-v1", 6.0)])
    assert figures.get("table", "dataver", "add-v1", "wall_s") == 1.0
    assert figures.ratio("table", "bup", "dataver", "add-v1") == 3.0
    assert figures.bounds("table", "dataver", "add-v1", "wall_s") == (1.0, 2.0)


def test_later_versions_are_one_column() -> None:
    """Of more than two versions, adding v2 and all after it is one figure; stored is the last one's."""
    results = [
        row("dataver", f"add-v{number}", float(number), stored_bytes=number) for number in range(1, 11)
    ]
    figures = Figures(results)
    assert figures.operations("table") == ["add-v1", "add-next"]
    assert figures.get("table", "dataver", "add-next", "wall_s") == 6.0
    assert figures.stored("table", "dataver") == (1, 10)


def test_what_has_no_figure_says_why() -> None:
    """An operation a tool lacks, one that was stopped, one that failed and one never tried look different."""
    results = [
        row("bup", "diff", lacking=True),
        row("hf-xet", "fetch-v1", stopped_s=600.0, error="stopped"),
        row("oxen", "add-v1", error="broken"),
    ]
    figures = Figures(results)
    keys = [("bup", "diff"), ("hf-xet", "fetch-v1"), ("oxen", "add-v1"), ("oxen", "list")]
    assert [figures.excuse("table", *key) for key in keys] == ["n/a", "> 600 s", "failed", "-"]


def test_targets_are_judged_by_the_results(tmp_path: Path) -> None:
    """The same target is met by one set of results and missed by another, and says the value."""
    base = [*adds("dataver", 100, 120), *adds("restic", 99, 150), row("tar", "add-v1", 0.9)]
    million = tmp_path / "million.jsonl"
    million.write_text('some words\n{"operation": "build tree", "seconds": 16.5}\n')
    found = {(one.what, one.where): one for one in targets(Figures([*base]), read_million(million))}
    assert found["add v1", "table"].met
    assert found["add v1", "table"].value == "1.11x tar, zstd"
    assert found["stored v1", "table"].met
    assert found["stored after the last version", "table"].met
    assert not found["add v2", "table"].met
    assert not found["building the tree", "a million files"].met
    slow = [row("tar", "add-v1", 0.5) if one.tool == "tar" else one for one in base]
    assert not next(one for one in targets(Figures(slow), {}) if one.what == "add v1").met


def test_memory_is_flat_when_ten_times_the_data_take_the_same() -> None:
    """The target compares the peaks of both sizes."""

    def judged(ten: int) -> bool:
        results = [
            row("dataver", "add-v1", 1.0, dataset=name, rss_tree=peak)
            for name, peak in (("flat-1", 10**8), ("flat-10", ten))
        ]
        return next(one for one in targets(Figures(results), {}) if one.what == "peak memory, 10 GB").met

    assert judged(105 * 10**6)
    assert not judged(200 * 10**6)


def test_a_cut_round_is_taken_out_and_finished_ones_stay(tmp_path: Path) -> None:
    """After a cut a file of results holds whole rounds only, and what is missing is still named."""
    path = tmp_path / "results.jsonl"
    with path.open("w") as out:
        for result in (
            Result(tool="borg", missing="not found"),
            row("dataver", "add-v1", 1.0),
            Result(tool="", dataset="table", run=1, done=True),
            row("dataver", "add-v1", 2.0, run=2),
        ):
            write_result(out, result)
    assert keep_finished(path) == {("table", 1)}
    assert [(result.tool, result.run) for result in read_results([path])] == [
        ("borg", None),
        ("dataver", 1),
        ("", 1),
    ]
    assert keep_finished(tmp_path / "none.jsonl") == set()


def test_tables_have_as_many_cells_in_each_row() -> None:
    """Every table of a report is a table: no cell holds what ends a cell."""
    folder = ROOT / "benchmarks" / "results"
    reported = [path for path in folder.glob("*.jsonl") if '"operation"' in path.read_text()]
    assert reported
    for results in reported:
        for part in markdown(read_results([results])).split("\n\n"):
            lines = [line for line in part.splitlines() if line.startswith("|")]
            assert len({line.count("|") for line in lines}) <= 1


def test_the_short_form_goes_between_the_marks_and_nowhere_else(tmp_path: Path) -> None:
    """Filling twice is filling once, and a file without marks is refused."""
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    figures = Figures([*adds("dataver", 100, 120), *adds("restic", 99, 150)])
    fill(readme, figures)
    once = readme.read_text()
    fill(readme, figures)
    assert readme.read_text() == once
    assert once.startswith("before\n")
    assert once.endswith("after\n")
    assert "old" not in once
    readme.write_text("no marks")
    with pytest.raises(ValueError, match="no place for the figures"):
        fill(readme, figures)


def test_the_documentation_says_what_was_measured() -> None:
    """The figures in docs/performance.md are those of the results it links to."""
    text = (ROOT / "docs/performance.md").read_text().partition(END)[0]
    linked = re.findall(r"benchmarks/results/([\w.-]+)\.md", text)
    assert len(set(linked)) == 1
    results = read_results([ROOT / "benchmarks" / "results" / f"{linked[0]}.jsonl"])
    between = text.partition(BEGIN)[2]
    assert between.strip() == short_form(Figures(results))


def test_every_line_of_results_stands_on_its_own() -> None:
    """A result survives being written and read; fields that say nothing are not written."""
    result = row("dataver", "add-v1", 1.5, user_s=1.0, sys_s=0.5)
    fields = {name: value for name, value in vars(result).items() if value is not None}
    assert Result(**json.loads(json.dumps(fields))) == result
    assert result.cpu_s == 1.5
