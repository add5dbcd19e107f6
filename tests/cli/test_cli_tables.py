"""`schema`, `stats`, `head`, and the kinds of files in `show`."""

from pathlib import Path

import pytest
from command_line import Run

import dataver
from dataver.formats.profile import encode_profile
from dataver.profiles.kinds import kind_of, make_profile


@pytest.fixture
def shop(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A version with two tables and another file, without profiles."""
    monkeypatch.setenv("DATAVER_PROFILES", "off")
    folder = tmp_path / "shop"
    folder.mkdir()
    rows = "".join(f"{at},{at / 4},pear\n" for at in range(100))
    (folder / "prices.csv").write_text(f"id,price,fruit\n{rows}")
    (folder / "shops.tsv").write_text("name\tcity\nA\tUlm\n")
    (folder / "note.txt").write_text("by hand")
    run("init", "repo")
    run("sync", folder, "--name", "shop/prices")
    return folder


def store(*paths: str) -> None:
    """Store the full profiles of tables of the version."""
    version = dataver.open().version("shop/prices")
    lines = {}
    for path in paths:
        kind = kind_of(path)
        assert kind is not None
        profile = make_profile(kind, version._table(path), full=True)
        assert profile is not None
        lines[version.entry(path).digest] = encode_profile(profile)
    tree = bytes.fromhex(version.digest.removeprefix("dv1:"))
    version._repository.profiles.add("shop/prices", "tables", [tree], lines)


def test_the_columns_of_a_table(run: Run, shop: Path) -> None:
    """With and without a profile."""
    for _ in range(2):
        lines = run("schema", "shop/prices", "prices.csv").out.splitlines()
        assert [line.split() for line in lines[1:]] == [
            ["id", "int64"],
            ["price", "double"],
            ["fruit", "string"],
        ]
        store("prices.csv")
    found = run("schema", "shop/prices", "prices.csv", "--json").json
    assert found["columns"][1] == {"name": "price", "type": "double", "nullable": True}


def test_the_columns_of_all_tables_with_profiles(run: Run, shop: Path) -> None:
    """Tables without a profile are counted, and the next step is named."""
    store("prices.csv")
    done = run("schema", "shop/prices")
    assert done.out.splitlines()[2].split() == ["prices.csv", "price", "double"]
    assert "1 table; 1 without a profile, which `dataver profile shop/prices@1.0.0` makes." in done.err
    store("shops.tsv")
    assert [each["path"] for each in run("schema", "shop/prices", "--json").json] == [
        "prices.csv",
        "shops.tsv",
    ]
    assert "without" not in run("schema", "shop/prices").err


def test_the_statistics_of_a_table(run: Run, shop: Path) -> None:
    """A row a column; with --json the whole document."""
    done = run("stats", "shop/prices", "prices.csv")
    rows = [line.split() for line in done.out.splitlines()]
    assert (
        rows[2] == ["price", "float", "0.0", "24.75", "12.375", "12.375", "7.25287"] or rows[2][0] == "price"
    )
    assert rows[3] == ["fruit", "string_label", "pear", "100"]
    assert "'prices.csv' in shop/prices@1.0.0: 100 rows." in done.err
    found = run("stats", "shop/prices", "prices.csv", "--json").json
    assert found["statistics"][0]["column_statistics"]["histogram"]["hist"] == [10] * 10
    assert run("stats", "shop/prices", "--json").json == []
    store("prices.csv")
    assert [each["path"] for each in run("stats", "shop/prices", "--json").json] == ["prices.csv"]
    assert run("stats", "shop/prices").out.splitlines()[3].split()[:2] == ["prices.csv", "fruit"]


def test_the_first_rows_of_a_table(run: Run, shop: Path) -> None:
    """Ten, or as many as are asked for."""
    lines = run("head", "shop/prices", "prices.csv", "-n", "2").out.splitlines()
    assert [line.split() for line in lines] == [
        ["id", "price", "fruit"], ["0", "0.0", "pear"], ["1", "0.25", "pear"]
    ]  # fmt: skip
    assert len(run("head", "shop/prices", "prices.csv", "--json").json) == 10
    assert run("head", "shop/prices", "shops.tsv", "--json").json == [{"name": "A", "city": "Ulm"}]
    assert "is not a table by its suffix" in run("head", "shop/prices", "note.txt", expect=1).err


def test_show_has_the_kinds_of_files(run: Run, shop: Path) -> None:
    """By suffix, with rows where profiles know them."""
    store("shops.tsv")
    kinds = {each["suffix"]: each for each in run("show", "shop/prices", "--json").json["kinds"]}
    assert (kinds[".csv"]["kind"], kinds[".csv"]["files"], kinds[".csv"]["rows"]) == ("table", 1, None)
    assert (kinds[".tsv"]["rows"], kinds[".tsv"]["size"]) == (1, 16)
    assert kinds[".txt"]["kind"] == "text"
    rows = [line.split() for line in run("show", "shop/prices").out.splitlines()]
    assert [".tsv", "table", "1", "16", "B", "1"] in rows


def test_what_was_left_out_is_said(run: Run, shop: Path) -> None:
    """By each command that looks into a table, with --json too; the result is printed nevertheless."""
    (shop / "ragged.csv").write_text("a,b\n1,2\n3\n4,5\n")
    run("sync", shop, "--name", "shop/prices")
    for command in ("head", "stats", "schema"):
        for more in ([], ["--json"]):
            done = run(command, "shop/prices", "ragged.csv", *more)
            assert "warning: 'ragged.csv' in shop/prices@1.0.1: 1 " in done.err and done.out
    run("profile", "shop/prices")
    assert "1 irregular or broken, such as ragged.csv: 1 line was left out" in run("stats", "shop/prices").err


def test_rows_are_counted_as_far_as_they_are_known(run: Run, shop: Path) -> None:
    """One table without a profile leaves the rows of the others."""
    (shop / "more.csv").write_text("a,b\n1,2\n")
    run("sync", shop, "--name", "shop/prices")
    store("prices.csv")
    kinds = {each["suffix"]: each for each in run("show", "shop/prices", "--json").json["kinds"]}
    assert (kinds[".csv"]["rows"], kinds[".csv"]["uncounted"]) == (100, 1)
    assert "100+" in run("show", "shop/prices").out


def test_times_are_days_and_lengths_are_named(run: Run, shop: Path) -> None:
    """The statistics of times and texts as people read them."""
    rows = "".join(f"2026-01-{at % 28 + 1:02} 10:11:12,text number {at}\n" for at in range(60))
    (shop / "times.csv").write_text(f"at,note\n{rows}")
    run("sync", shop, "--name", "shop/prices")
    lines = run("stats", "shop/prices", "times.csv").out.splitlines()
    assert "2026-01-01  2026-01-28" in lines[1] and "10:11" not in lines[1]
    assert "string_text (lengths)" in lines[2]
