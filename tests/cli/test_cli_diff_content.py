"""`dataver diff … PATH`: what changed in a file; and `--stat`, which counts rows."""

from pathlib import Path

import pytest
from command_line import Run


@pytest.fixture
def two_tables(run: Run, tmp_path: Path) -> Path:
    """Versions 1.0.0 and 1.0.1 of `d`, in each of which every file differs; returns their folder."""
    source = tmp_path / "source"
    (source / "more").mkdir(parents=True)
    run("init", "repo")
    for number in (1, 2):
        rows = [(n, f"city {n}", n * number if n == 3 else n) for n in range(number, 20 + number)]
        (source / "t.csv").write_text("id,city,price\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows))
        (source / "more" / "u.jsonl").write_text("".join(f'{{"a": {n % number}}}\n' for n in range(6)))
        (source / "a.json").write_text(f'{{"x": {number}, "y": [1, {{"z": "{"long " * 20}{number}"}}]}}')
        (source / "a.txt").write_text(f"same\n{number}\n")
        (source / "a.bin").write_bytes(bytes([0, number]))
        run("sync", source, "--name", "d")
    return source


def test_rows_of_a_table(run: Run, two_tables: Path) -> None:
    """Counts first, then rows in the manner of daff."""
    done = run("diff", "d@1.0.0", "d@1.0.1", "t.csv")
    assert done.out.splitlines() == [
        "d@1.0.0 -> d@1.0.1: t.csv: 1 row changed, 1 added, 1 removed.",
        "rows     20 -> 20, 18 equal; matched by id, which is unique and not NULL in both",
        "cells    price 1",
        "@@   id  price  city",
        "+++  21  21     city 21",
        "---  1   1      city 1",
        "->   3   3->6   city 3",
    ]
    assert run("diff", "d", "t.csv").out == done.out  # what the latest version changed
    assert run("diff", "d", "t.csv", "--rows", "0").out == "".join(done.out.splitlines(keepends=True)[:3])
    assert run("diff", "d", "t.csv", "--stat").out == done.out.splitlines(keepends=True)[0]
    assert "compared as whole rows" in run("diff", "d", "t.csv", "--key", "").out
    assert "matched by id, city\n" in run("diff", "d", "t.csv", "--key", "id", "--key", "city").out
    shown = run("diff", "d", "t.csv", "--key", "", "--rows", "1").out.splitlines()[-2:]
    assert shown == ["1 more added rows; --rows 2 shows all", "1 more removed rows; --rows 2 shows all"]


def test_json_of_a_table(run: Run, two_tables: Path) -> None:
    """The document has the versions, the counts and the rows."""
    found = run("diff", "d", "t.csv", "--json").json
    assert (found["old"], found["new"], found["path"]) == ("d@1.0.0", "d@1.0.1", "t.csv")
    assert (found["kind"], found["different"], found["key"], found["key_found"]) == (
        "table",
        True,
        ["id"],
        True,
    )
    assert found["rows"] == {"old": 20, "new": 20, "added": 1, "removed": 1, "changed": 1, "equal": 18}
    assert found["added"] == [{"id": 21, "city": "city 21", "price": 21}]
    assert found["changed"] == [
        {"key": {"id": 3}, "cells": {"price": {"old": 3, "new": 6}}, "row": {"city": "city 3"}}
    ]
    assert found["drift"] == {}  # too few rows
    everything = run("diff", "d", "t.csv", "--key", "", "--json").json
    assert len(everything["added"]) == everything["rows"]["added"] == 2
    few = run("diff", "d", "t.csv", "--key", "", "--json", "--rows", "1").json
    assert len(few["added"]) == 1
    counts = run("diff", "d", "t.csv", "--stat", "--json").json
    assert counts["rows"] == found["rows"]
    assert not {"added", "removed", "changed"} & set(counts)
    assert "changes" not in run("diff", "d", "a.json", "--stat", "--json").json


def test_other_files(run: Run, two_tables: Path) -> None:
    """Of long values, the part that differs is shown."""
    lines = run("diff", "d", "a.json").out.splitlines()
    assert lines[0] == "d@1.0.0 -> d@1.0.1: a.json: values: 2 changed."
    assert lines[1] == "~  /x  1 -> 2"
    assert lines[2].startswith("~  /y/1/z  …") and lines[2].endswith('2"')
    assert run("diff", "d", "a.json", "--json").json["changes"][0] == {
        "op": "replace",
        "path": "/x",
        "old": 1,
        "new": 2,
    }
    assert run("diff", "d", "a.txt").out.splitlines()[-2:] == ["-1", "+2"]
    assert run("diff", "d", "a.bin").out.endswith("a.bin: binary, not compared; 2 bytes -> 2 bytes.\n")
    assert run("diff", "d@1.0.0", "d@1.0.0", "a.bin").out.endswith("a.bin: the same content.\n")


def test_another_path_selects_paths(run: Run, two_tables: Path) -> None:
    """A folder, a glob, or a file of one version only, as `--include` does."""
    assert run("diff", "d@1.0.0", "d", "more").out == run("diff", "d@1.0.0", "d", "--include", "more").out
    assert run("diff", "d@1.0.0", "d", "a.*").out.count("M  a.") == 3
    (two_tables / "n[1].csv").write_text("a\n1\n")
    run("sync", two_tables, "--name", "d")
    assert run("diff", "d", "n[1].csv").out.startswith("A  n[1].csv  (")
    assert run("diff", "d@1.0.1", "d", "n[1].csv", "--old-path", "t.csv").out.count("without a common column")
    assert "'nothing'" in run("diff", "d@1.0.0", "d", "nothing", expect=4).err
    for path in ("more", "a.*"):  # with one version, too
        assert run("diff", "d@1.0.1", path).out == run("diff", "d@1.0.0", "d@1.0.1", path).out
    (two_tables / "t.csv").rename(two_tables / "moved.csv")
    (two_tables / "a.bin").unlink()
    run("sync", two_tables, "--name", "d")
    assert run("diff", "d", "a.bin").out.startswith("D  a.bin  (")
    for path in ("t.csv", "moved.csv"):
        assert run("diff", "d", path).out.endswith(": the same content, t.csv -> moved.csv.\n")
    assert run("diff", "d@1.0.0", "t.csv").out.startswith("A  t.csv  (")  # it has no parent


def test_a_dataset_goes_before_a_path(run: Run, two_tables: Path) -> None:
    """As before: the second argument is a version if there is one of that name."""
    run("sync", two_tables, "--name", "t.csv")
    assert "d@1.0.0 -> t.csv@1.0.0: " in run("diff", "d@1.0.0", "t.csv").out
    assert "d@1.0.0 -> d@1.0.1: t.csv: " in run("diff", "d@1.0.0", "d", "t.csv").out


def test_errors_of_a_table(run: Run, two_tables: Path) -> None:
    """One sentence and the next step; the exit code is not zero."""
    wrong = run("diff", "d", "t.csv", "--key", "nope", expect=1).err
    assert "'nope' is not a column of both tables" in wrong
    assert "both have: id, city, price" in wrong
    assert "is not a table" in run("diff", "d", "a.json", "--key", "x", expect=1).err
    run("diff", "d", "--key", "id", expect=2)
    run("diff", "d", "--rows", "1", expect=2)
    run("diff", "d", "t.csv", "--exclude", "more", expect=2)
    wrong = run("diff", "d", "nothing", expect=4).err
    assert "no dataset 'nothing'" in wrong
    assert "diff OLD NEW PATH" in wrong
    assert "no file 'zzz'" in run("diff", "d", "t.csv", "--old-path", "zzz", expect=4).err


def test_stat_counts_rows_of_modified_tables(
    run: Run, two_tables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a limit of tables and bytes; the others are counted, and a broken one stops nothing."""
    done = run("diff", "d", "--stat")
    assert done.out.splitlines() == [
        "3 rows added, 3 removed in more/u.jsonl",
        "1 row changed, 1 added, 1 removed in t.csv",
        "d@1.0.0 -> d@1.0.1: 5 modified; 463 B in, 460 B out.",
    ]
    assert done.err == ""
    found = run("diff", "d", "--stat", "--json").json
    assert [each["path"] for each in found["tables"]] == ["more/u.jsonl", "t.csv"]
    assert found["tables"][1]["rows"]["changed"] == 1
    assert found["summary"]["modified"] == 5
    with monkeypatch.context() as patch:
        patch.setattr("dataver_cli.commands.diff._READ", 300)
        done = run("diff", "d", "--stat")
    assert len(done.out.splitlines()) == 2
    assert "1 modified table not compared" in done.err
    assert "`dataver diff d@1.0.0 d@1.0.1 PATH`" in done.err
    large = (two_tables / "t.csv").stat().st_size
    with monkeypatch.context() as patch:  # the first one is too large, which hides no other
        (two_tables / "more" / "u.jsonl").write_text('{"a": 1}\n' * 200)
        (two_tables / "t.csv").write_text("id,city,price\n1,a,1\n")
        run("sync", two_tables, "--name", "d")
        patch.setattr("dataver_cli.commands.diff._READ", large + 100)
        assert run("diff", "d", "--stat").out.splitlines()[0].endswith(" in t.csv")
        patch.setattr("dataver.extras.find_spec", lambda name: None)
        done = run("diff", "d", "--stat")
        assert len(done.out.splitlines()) == 1
        assert "2 modified tables not compared" in done.err
        assert "pip install 'dataver[tables]'" in done.err
    for content in (b"PAR1", b"PAR1 no"):
        (two_tables / "v.parquet").write_bytes(content)
        run("sync", two_tables, "--name", "d")
    assert "'v.parquet' in d@1.0.3 cannot be read as a table: " in run("diff", "d", "--stat").out
