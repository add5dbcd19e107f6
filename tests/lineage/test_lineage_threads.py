"""One `Repository.lineage` that threads share."""

from concurrent.futures import ThreadPoolExecutor

import dataver


def test_threads_share_the_lineage_of_a_repository(tmp_path, monkeypatch):
    """Each thread gets its answer; the index is opened by one of them and used by all."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DATAVER_STATE", str(tmp_path / "state"))
    repo = dataver.init(tmp_path / "repo")
    (tmp_path / "source").mkdir()
    (tmp_path / "source/a.txt").write_text("a")
    repo.sync(tmp_path / "source", "words", workspace=tmp_path / "work")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: repo.lineage.version("words@1.0.0").version.ref, range(64)))
    assert found == ["words@1.0.0"] * 64
