"""From a URL to a store: what is opened, what is refused and with which hint, and what is imported for it."""

import subprocess
import sys
from pathlib import Path

import pytest

from dataver.errors import InvalidInput
from dataver.storage import LocalStore, open_store


def test_paths_and_file_urls_are_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path, an absolute one, a home path and a file URL are folders, absolute from the start."""
    monkeypatch.chdir(tmp_path)
    for url in ("repo", str(tmp_path / "repo"), f"file://{tmp_path}/repo", tmp_path / "repo"):
        store = open_store(url)
        assert isinstance(store, LocalStore)
        assert store.local_root == tmp_path / "repo"
        assert store.url == str(tmp_path / "repo")
    home = open_store("~/repo").local_root
    assert home == Path.home() / "repo"


def test_an_s3_url_needs_a_bucket() -> None:
    """The bucket is named, the prefix may be missing, slashes around it do not matter."""
    assert open_store("s3://bucket").url == "s3://bucket"
    assert open_store("s3://bucket/a/b/").url == "s3://bucket/a/b"
    for url in ("s3://", "s3:///key", "s3://b", "s3://bucket/a/../b"):
        with pytest.raises(InvalidInput):
            open_store(url)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "empty"),
        ("nosuch://host/x", "fsspec"),
        ("https://me:hunter2secret@example.org/repo", "credentials"),
        ("simplecache::s3://bucket/x", "chain"),
        ("s3://AKIA:hunter2secret@bucket/x", "credentials"),
        ("sftp://user:hunter2secret@host/x", "credentials"),
        ("s3://bucket/x?secret=hunter2secret", "credentials"),
    ],
)
def test_unusable_urls_are_refused(url: str, says: str) -> None:
    """Each unusable URL gets a sentence of its own, and no secret of it is repeated."""
    with pytest.raises(InvalidInput) as caught:
        open_store(url)
    shown = f"{caught.value} {caught.value.hint}"
    assert says in shown
    assert "hunter2secret" not in shown


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("s3:/bucket/x", "write s3://bucket/x for a URL, or ./s3:/bucket/x"),
        ("s3:bucket/x", "write s3://bucket/x"),
        ("s3//bucket/x", "write s3://bucket/x"),
        ("gs:/b/x", "write gs://b/x"),
        ("https:/host/x", "write https://host/x"),
        ("file:/a/b", "write file:///a/b"),
        ("file://repo", "write file:///repo"),
        ("C:\\data", "write ./C:\\data"),
        ("$HOME/x", "./$HOME/x"),
    ],
)
def test_mistyped_urls_are_no_folders(url: str, hint: str) -> None:
    """A text that is nearly a URL, or holds a variable, is refused, and the hint gives the right spelling."""
    with pytest.raises(InvalidInput) as caught:
        open_store(url)
    assert hint in str(caught.value.hint)
    if ":" in url and "://" not in url:
        assert isinstance(open_store(f"./{url}"), LocalStore)


def test_a_missing_package_is_named() -> None:
    """A protocol whose package is not installed says what to install."""
    from fsspec.registry import known_implementations, register_implementation

    register_implementation("dvtest", "no_such_package_dv.FileSystem", errtxt="x")
    try:
        with pytest.raises(InvalidInput, match="no_such_package_dv") as caught:
            open_store("dvtest://bucket/x")
    finally:
        known_implementations.pop("dvtest", None)
    assert caught.value.hint == "pip install no_such_package_dv"


def test_a_folder_takes_no_options(tmp_path: Path) -> None:
    """Options for a folder are a mistake that is told."""
    with pytest.raises(InvalidInput, match="anon"):
        open_store(tmp_path, {"anon": True})


def test_importing_storage_imports_no_cloud() -> None:
    """fsspec, s3fs and botocore are imported when such a URL is opened, never before."""
    script = (
        "import sys, dataver.storage; dataver.storage.open_store('/tmp/x').exists('y')\n"
        "heavy = {'fsspec', 's3fs', 'botocore', 'aiohttp', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
