"""Which places are read: those that this machine's user named, and no others, whatever a repository says."""

import os

import pytest

import dataver
from dataver.errors import FormatTooNew, IntegrityError, StoreError
from dataver.ingest.external_listing import _chosen
from dataver.ingest.scan import Scan
from dataver.machine.configuration import options_for, user_config_path
from dataver.repository.external_trust import allow, is_allowed, place_of, refuse_unless_allowed


def forget():
    """Be a machine on which nobody recorded anything."""
    user_config_path().unlink()


def test_a_machine_that_allowed_nothing_reads_nothing_outside(filled):
    """A repository alone makes no reader open a local file: it says which place, and what would allow it."""
    filled.record()
    forget()
    with pytest.raises(StoreError, match="reading it is not permitted") as caught:
        filled.fresh().fetch("ext", dest=filled.root / "out")
    place = f"file://{filled.raw}"
    assert place in caught.value.message and not caught.value.transient
    assert caught.value.hint.endswith(f"dataver config set --user 'stores.{place}.external' true")
    findings = dict(filled.fresh().verify("ext").findings)
    assert len(findings) == 42 and "not permitted" in findings["large"]
    dataver.Config().set(f"stores.{place}.external", "true", user=True)
    assert filled.fresh().fetch("ext", dest=filled.root / "out").files == 43


def test_who_records_a_place_allows_it_here(filled):
    """The one line that recording writes is the one that people would write."""
    draft = filled.repo.create("ext", workspace=filled.root)
    assert draft.plan_external(filled.raw).places == [f"file://{filled.raw}"]
    assert not user_config_path().exists()
    assert draft.add_external(filled.raw, include=["run.sh"]).allowed == user_config_path()
    assert user_config_path().read_text() == f'[stores."file://{filled.raw}"]\nexternal = true\n'
    assert draft.add_external(filled.raw, include=["run.sh"]).allowed is None
    assert draft.plan_external(filled.raw).places == []


def test_the_project_may_not_open_this_machines_files(filled, monkeypatch):
    """A committed configuration counts for buckets; for folders only the user's own does."""
    filled.record()
    forget()
    project = filled.root / "here" / ".dataver"
    project.mkdir()
    (project / "config.toml").write_text(
        f'[stores."file://{filled.raw}"]\nexternal = true\n[stores."s3://shared/a"]\nexternal = true\n'
    )
    assert not is_allowed(f"file://{filled.raw}", "s3://home/repo")
    assert is_allowed("s3://shared/a/b", "s3://home/repo") and not is_allowed(
        "s3://shared/b", "s3://home/repo"
    )
    monkeypatch.setenv("DATAVER_EXTERNAL", f"s3://other {filled.root}")
    assert is_allowed(f"file://{filled.raw}", "s3://home/repo") and is_allowed("s3://other", "/repo")


def test_the_longest_url_counts(world):
    """A part of a place can be taken out of what is allowed."""
    user_config_path().parent.mkdir(parents=True, exist_ok=True)
    user_config_path().write_text(
        '[stores."s3://lab"]\nexternal = true\nregion = "eu-west-1"\n'
        '[stores."s3://lab/private"]\nexternal = false\n'
    )
    assert is_allowed("s3://lab/public", "/repo") and not is_allowed("s3://lab/private/x", "/repo")
    assert not is_allowed("s3://laboratory", "/repo")
    with pytest.raises(StoreError, match="s3://lab/private/x"):
        refuse_unless_allowed("s3://lab/private/x", "s3://lab/repo")
    assert options_for("s3://lab/public") == {"region": "eu-west-1"}  # `external` is no option of a store


@pytest.mark.parametrize(
    ("place", "repository", "allowed"),
    [
        ("s3://bucket/raw", "s3://bucket/repo", True),
        ("s3://bucket/raw", "s3a://bucket/repo", True),
        ("s3://other/raw", "s3://bucket/repo", False),
        ("s3://bucket", "s3://bucket2/repo", False),
        ("https://data.example/raw", "https://data.example/repo", True),
        ("http://169.254.169.254/latest", "s3://bucket/repo", False),
        ("https://data.example/raw", "https://data.example:8443/repo", False),
        ("gs://bucket/raw", "s3://bucket/repo", False),
        ("file:///etc", "/data/repo", False),
        ("file:///data/repo", "/data/repo", False),
        ("file:///etc", "file:///data/repo", False),
        ("s3://bucket/raw", "/data/repo", False),
    ],
)
def test_only_the_repositorys_own_bucket_or_host_is_known(place, repository, allowed):
    """Who opened a repository has named its bucket or host, and nothing else."""
    assert is_allowed(place, repository) is allowed


def test_a_link_leads_nowhere_else(filled):
    """A file that became a link out of its folder is not read; what the user named is followed, as always."""
    filled.record()
    (filled.raw / "small/07").rename(filled.root / "elsewhere")
    (filled.raw / "small/07").symlink_to(filled.root / "elsewhere")
    with pytest.raises(IntegrityError, match="a link leads out"):
        filled.fresh().version("ext").read("small/07")
    filled.raw.rename(filled.root / "moved")
    filled.raw.symlink_to(filled.root / "moved")
    assert len(filled.fresh().version("ext").read("small/08")) == 1008


def test_places_are_one_whatever_they_are_called(tmp_path):
    """A folder's place is its real path, percent-encoded; protocols have one name each."""
    folder = tmp_path / "a b%#?é"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    place = place_of(tmp_path / "link")
    assert place == place_of(folder) == place_of(place) and "?" not in place and "#" not in place
    assert place_of("S3A://bucket/x/") == "s3://bucket/x"


def test_recording_where_the_configuration_cannot_be_written(filled, monkeypatch):
    """Nothing is recorded that this machine could not read again; the error says what to do."""
    blocked = filled.root / "blocked"
    blocked.write_text("a file")
    monkeypatch.setenv("DATAVER_CONFIG", str(blocked / "config.toml"))
    draft = filled.repo.create("ext", workspace=filled.root)
    with pytest.raises(dataver.errors.InvalidInput, match="cannot be written"):
        draft.add_external(filled.raw)
    assert not draft.changed
    monkeypatch.setenv("DATAVER_EXTERNAL", str(filled.root))
    assert allow(place_of(filled.raw), "/repo") is None and draft.add_external(filled.raw).files == 45


def test_names_with_anything_in_them(world):
    """Files whose names need care are recorded and fetched; what no version can hold is named."""
    for name in ("a b", "ü", "x%20y", "q?r", "h#i", "semi;colon", "plus+", "@at", "a::b"):
        world.write(f"odd folder ?#%/{name}", 100)
    (world.raw / "odd folder ?#%" / "back\\slash").write_bytes(b"x")
    world.record(world.raw / "odd folder ?#%")
    assert [name.rpartition("/")[2] for name, _ in world.report.problems] == ["back\\slash"]
    report = world.fresh().fetch("ext", dest=world.root / "out")
    assert report.files == 9
    assert all((report.path / name).read_bytes() == (world.raw / "odd folder ?#%" / name).read_bytes()
               for name in os.listdir(report.path))  # fmt: skip


def test_damaged_external_packs_are_told_apart_from_changed_files(filled):
    """A missing or damaged external pack is the repository's fault, and named by its key."""
    filled.record()
    path = filled.objects("externals")[0]
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data[:-1] + b"!")
    with pytest.raises((IntegrityError, FormatTooNew), match=f"external pack {path.name} is unusable"):
        filled.fresh().fetch("ext")
    path.unlink()
    with pytest.raises(IntegrityError, match=f"{path.name} is missing"):
        filled.fresh().fetch("ext")
    findings = dict(filled.fresh().verify("ext").findings)
    assert findings and all(path.name in why for why in findings.values())


def test_an_object_below_another_is_refused_by_name():
    """A store may hold `f` and `f/g`; a folder may not, so the second is named as left out."""
    how = Scan("data")
    found = _chosen([(key, 1) for key in ("f", "f-", "f/g", "f/h/i", "h/f")], "s3://raw", how)
    assert [wanted.path for wanted in found] == ["data/f", "data/f-", "data/h/f"]
    assert how.problems == [
        (f"s3://raw/{key}", "'f' is a file there, so it cannot contain others") for key in ("f/g", "f/h/i")
    ]
