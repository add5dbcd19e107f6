"""The simulated lineage fits the schema, and every question of the benchmark has an answer."""

import sqlite3
from pathlib import Path

from benchmarks.lineage import build, questions


def test_every_question_is_answered(tmp_path: Path) -> None:
    """On a small history each question finds something."""
    build(tmp_path / "index.sqlite", runs=60, versions=8, files=500, changed=20)
    db = sqlite3.connect(tmp_path / "index.sqlite")
    for name, ask in questions(60, 8).items():
        answer = ask(db)
        assert answer, name
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
