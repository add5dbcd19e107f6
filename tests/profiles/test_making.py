"""Making of profiles: cheap ones by `finalize`, full ones on demand, each file digest once."""

import io
import random
import signal
import threading
import wave
from pathlib import Path

import pytest
from PIL import Image

import dataver
from dataver import parallel
from dataver.errors import NotFound, PathNotFound
from dataver.profiles import making, tables


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dataver.Repository, Path]:
    """A repository and a folder of files of many kinds, some of them broken."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("dataver.profiles.drafts._LEAST", 60.0)  # seconds, which a loaded machine may need
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(3):
        Image.effect_noise((90, 60), 50 + number).save(folder / f"{number}.png")
    (folder / "bomb.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\x7f\xff\xff\xff" * 2 + b"\x08\2\0\0\0"
    )
    with wave.open(str(folder / "s.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(random.Random(1).randbytes(20_000))
    (folder / "deep.json").write_bytes(b"[" * 50_000)
    (folder / "mixed.txt").write_bytes("ä".encode() + "ä".encode("latin-1"))
    (folder / "cut.zip").write_bytes(b"PK\3\4")
    (folder / "unknown").write_bytes(b"?")
    return dataver.init(tmp_path / "repo"), folder


def publish(world: tuple[dataver.Repository, Path], name: str = "vision/cats") -> dataver.Version:
    repo, folder = world
    version = repo.sync(folder, name, workspace=folder.parent).version
    assert version is not None
    return version


def known(version: dataver.Version) -> dict[str, dict]:
    return dict(version.profiles())


KINDS = {"0.png", "1.png", "2.png", "bomb.png", "s.wav", "deep.json", "mixed.txt", "cut.zip"}
BROKEN = {"bomb.png", "deep.json", "mixed.txt", "cut.zip"}


def test_finalize_makes_cheap_profiles_and_a_broken_file_never_fails_it(world):
    made = known(publish(world))
    assert made.keys() == KINDS and not any(each["full"] for each in made.values())
    assert (made["0.png"]["width"], made["s.wav"]["seconds"]) == (90, 1.25)
    assert {path for path, each in made.items() if "problem" in each} == BROKEN


def test_finalize_makes_as_many_as_a_share_of_the_time_of_add_allows(world, monkeypatch):
    """And at least a few."""
    monkeypatch.setattr("dataver.profiles.drafts._LEAST", 0.0)
    monkeypatch.setattr("dataver.profiles.drafts._FEW", 3)
    assert 3 <= len(known(publish(world))) < len(KINDS)


def test_tables_come_first(world, monkeypatch):
    """Their columns are searched for."""
    monkeypatch.setattr("dataver.profiles.drafts._LEAST", 0.0)
    (world[1] / "rows.csv").write_text("town,rain\nBonn,1\n")
    assert "rows.csv" in known(publish(world))


def test_full_profiles_replace_cheap_ones_once(world):
    version = publish(world)
    report = version.profile()
    assert report.made.total() == len(KINDS) and not report.known
    assert {path for path, _ in report.problems} == BROKEN
    found = known(version)
    assert found.keys() == KINDS and all(each["full"] for each in found.values())
    assert "thumbnail" in found["1.png"] and len(found["s.wav"]["peaks"]) > 400
    again = version.profile()
    assert (again.made.total(), again.known) == (0, len(KINDS))


def test_a_child_costs_what_changed(world, monkeypatch):
    """Renamed and unchanged files are known by their digest, and are not read."""
    _repo, folder = world
    publish(world).profile()
    (folder / "0.png").rename(folder / "renamed.png")
    (folder / "new.txt").write_text("new\n")
    version = publish(world)
    read = []
    monkeypatch.setattr(
        making, "encode", lambda source, full: read.append(source.name) or (b'1 {"kind":"text"}', None)
    )
    assert version.profile().known == len(KINDS)
    assert read == ["new.txt"]
    assert known(version).keys() == {*KINDS, "renamed.png", "new.txt"} - {"0.png"}


def test_only_chosen_files_are_profiled(world):
    version = publish(world)
    assert version.profile(["*.png"], exclude="bomb*").made == {"image": 3}
    assert [path for path, each in version.profiles("?.png") if each["full"]] == ["0.png", "1.png", "2.png"]
    with pytest.raises(PathNotFound):
        version.profile("nothing")


def test_an_interrupted_call_is_continued(world, monkeypatch):
    class Stop:
        """Interrupts after some files, as Ctrl-C does."""

        def start(self, *_: int) -> None: ...

        def advance(self, *_: int) -> None:
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt

        left = 3

    version = publish(world)
    with pytest.raises(KeyboardInterrupt):
        version.profile(progress=Stop())
    assert sum(each["full"] for each in known(version).values()) == 3
    assert version.profile().known == 3


def test_ctrl_c_neither_waits_for_a_table_nor_for_queued_files(world, monkeypatch):
    _repo, folder = world
    for number in range(20):
        (folder / f"{number}.csv").write_text(f"a\n{number}\n")
    version = publish(world)
    calls = []

    def long(db, *_: object) -> dict:
        calls.append(db)
        if len(calls) == 1:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        db.execute("SELECT sum(hash(range)) FROM range(1_000_000_000)").fetchall()
        return {}

    monkeypatch.setattr(tables, "_profile", long)
    with pytest.raises(KeyboardInterrupt):
        version.profile("*.csv")
    assert len(calls) <= 2 * parallel.cores()  # each is tried twice
    assert not any(each["full"] for each in known(version).values())


def test_large_files_are_opened_and_not_read_into_memory(world, monkeypatch):
    _repo, _folder = world
    monkeypatch.setattr(making, "_SMALL", 1000)
    version = publish(world)
    found = {**known(version)} if version.profile().made else {}
    assert found["1.png"]["width"] == 90 and "thumbnail" in found["1.png"]
    assert len(found["s.wav"]["peaks"]) > 400


def test_a_missing_package_is_named_on_demand_and_passed_over_by_finalize(world, monkeypatch):
    monkeypatch.setattr("dataver.extras.find_spec", lambda name: None)
    version = publish(world)
    assert not any(path.endswith((".png", ".wav")) for path in known(version))
    report = version.profile()
    assert report.missing == [
        ("4 image files", "pip install 'dataver[images]'"),
        ("1 audio file", "pip install 'dataver[audio]'"),
    ]
    assert report.made == {"json": 1, "text": 1, "archive": 1}


def test_a_setting_turns_cheap_profiles_off(world, monkeypatch):
    monkeypatch.setenv("DATAVER_PROFILES", "off")
    version = publish(world)
    assert known(version) == {}
    assert not list(world[1].parent.rglob("repo/profiles"))


def test_nothing_that_fails_in_making_them_fails_finalize(world, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise MemoryError("x")

    monkeypatch.setattr("dataver.profiles.drafts.encode", fail)
    assert known(publish(world)) == {}


def test_cheap_profiles_are_of_files_from_all_over_a_large_draft(tmp_path, monkeypatch):
    """At most 200 of a kind, and not only the first ones."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("dataver.profiles.drafts._LEAST", 60.0)
    folder = tmp_path / "data"
    for number in range(3000):
        (folder / f"{number // 100:02d}").mkdir(parents=True, exist_ok=True)
        (folder / f"{number // 100:02d}/{number}.txt").write_text(str(number))
    version = dataver.init(tmp_path / "repo").sync(folder, "texts", workspace=tmp_path).version
    found = known(version)
    assert len(found) == 200
    places = {int(path[:2]) // 5 for path in found}
    assert places == set(range(6))


def test_a_draft_whose_changes_were_applied_to_another_version_stores_none(world, tmp_path):
    """Some of its files may not be in the version."""
    repo, _folder = world
    publish(world)
    one, two = (repo.create("vision/cats", parents="vision/cats", workspace=tmp_path / name) for name in "ab")
    for draft, name in ((one, "one.txt"), (two, "two.txt")):
        (tmp_path / name).write_text(name)
        draft.add(tmp_path / name)
        draft.finalize(name)
    one.upload()
    assert "one.txt" in known(repo.version("vision/cats"))
    two.upload()
    version = repo.version("vision/cats")
    assert {each.path for each in version.entries()} >= {"one.txt", "two.txt"}
    assert "two.txt" not in known(version)
    assert version.profile("two.txt").made == {"text": 1}


def test_profiles_of_a_local_version_are_refused(world, tmp_path):
    repo, folder = world
    draft = repo.create("vision/cats", workspace=tmp_path)
    draft.add(folder)
    version = draft.finalize("x")
    with pytest.raises(dataver.InvalidInput):
        version.profile()
    with pytest.raises(dataver.InvalidInput):
        version.profiles()


def test_gc_forgets_the_profiles_of_deleted_files(world):
    repo, folder = world
    old = publish(world)
    old.profile()
    secret = io.BytesIO((folder / "2.png").read_bytes())
    (folder / "2.png").unlink()
    new = publish(world)
    old.delete()
    repo.gc()
    assert known(new).keys() == KINDS - {"2.png"}
    (folder / "2.png").write_bytes(secret.getvalue())
    assert "thumbnail" not in known(publish(world)).get("2.png", {})
    with pytest.raises(NotFound):
        repo.version("vision/cats@1.0.0")


def test_a_version_that_is_deleted_meanwhile_leaves_no_profiles(world, monkeypatch):
    """Also if gc listed them before they were written."""
    repo, _folder = world
    monkeypatch.setenv("DATAVER_PROFILES", "off")
    publish(world)
    version = publish(world, "vision/dogs")
    encode = making.encode

    def late(source, full):
        if source.name == "0.png":
            version.delete()
            repo.gc()
        return encode(source, full=full)

    monkeypatch.setattr(making, "encode", late)
    with pytest.raises(NotFound, match="vision/dogs"):
        version.profile("?.png")
    assert repo._core.profiles.objects() == []


def test_a_store_that_refuses_profiles_does_so_before_all_is_read(world, monkeypatch):
    """A read-only web server, or a role without the permission."""
    version = publish(world)
    monkeypatch.setattr(making, "_GROUP", 0)
    monkeypatch.setattr(making, "_PENDING", 0)
    monkeypatch.setattr(dataver.storage.local.LocalStore, "put_many_new", refuse)
    read = []
    encode = making.encode
    monkeypatch.setattr(making, "encode", lambda *each, full: read.append(1) or encode(*each, full=full))
    with pytest.raises(dataver.StoreError, match="denied"):
        version.profile()
    assert len(read) < len(KINDS) / 2


def refuse(*_: object) -> None:
    raise dataver.StoreError("denied")


def test_a_store_that_refuses_profiles_does_not_fail_the_upload(world, tmp_path):
    """A publisher may have no permission to write them; on demand, the refusal is an error."""
    (tmp_path / "repo" / "profiles").write_text("a file in the place of the folder")
    version = publish(world)
    assert version.uploaded
    with pytest.raises(dataver.StoreError):
        version.profile("0.png")
