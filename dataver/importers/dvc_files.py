"""The files in which DVC names data: `*.dvc`, `dvc.lock` with `dvc.yaml`, and the listings of folders.

The idea: all scalars of YAML are read as texts. DVC writes YAML 1.2, so a parser of 1.1 would take a file
named `no` for false, and almost every scalar is meant to be a text.

The files may be cut or hostile. They are read as if they were intact, and what does not fit is one error.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from posixpath import dirname, join, normpath
from typing import Any, Final, NamedTuple

from dataver.errors import IntegrityError
from dataver.importers.git_program import without_login

# Imports in functions: PyYAML is optional.

__all__ = ["FOLDER", "Listed", "Output", "artifacts", "listed", "locked", "outputs"]

FOLDER: Final = ".dir"
"""The end of the checksum of a folder's listing."""

_MD5: Final = re.compile(r"([0-9a-f]{32}(\.dir)?)?")
_TEMPLATE: Final = re.compile(r"\$\{.*?\}")
_ITEM: Final = re.compile(r"\$\{\s*item\s*\}")


class Listed(NamedTuple):
    """A file of a folder: its path there, checksum, size, executable bit, and the version of its object."""

    path: str
    md5: str
    size: int | None
    executable: bool
    version: str | None = None


class Output(NamedTuple):
    """Data that DVC keeps.

    Attributes:
        path: from the root of the DVC repository.
        md5: the checksum of a file, or of the listing of a folder; "" if neither is known.
        algorithm: "md5", or "md5-dos2unix" as written before DVC 3.
        size: bytes; None if unknown.
        executable: whether the file is.
        version: the version of the object, if the remote keeps it under its own name.
        files: the files of such a folder.
        remote: the name of the remote that keeps it; "" for the default.
        pushed: whether a remote keeps it at all.
        source: the repository or URL from which it was imported; "" for none.
        url: the URL at which its bytes are, if the import left them there.
    """

    path: str
    md5: str
    algorithm: str
    size: int | None
    executable: bool
    version: str | None
    files: tuple[Listed, ...]
    remote: str
    pushed: bool
    source: str = ""
    url: str = ""


def outputs(path: str, data: bytes) -> list[Output]:
    """Return the outputs that a `.dvc` file names.

    Raises:
        IntegrityError: it is damaged.
    """
    found = []
    with _sound(path):
        content = _yaml(data)
        folder = join(dirname(path), content.get("wdir", "."))
        dep = (content.get("deps") or [{}])[0]
        source = without_login(_text(dep["repo"]["url"])) if "repo" in dep else ""
        for table in content.get("outs") or ():
            output = _output(table, folder)._replace(source=source)
            if not (source or output.md5 or output.files) and "://" in dep.get("path", ""):  # not downloaded
                place = {"source": dep["path"], "url": dep["path"]}
                output = _output({**dep, "path": table["path"]}, folder)._replace(**place)
            if table.get("cache") != "false":  # else the file is in git
                found.append(output)
    return found


def locked(path: str, data: bytes, definitions: bytes) -> list[Output]:
    """Return the outputs that a `dvc.lock` names and the `dvc.yaml` beside it does not leave to git.

    Raises:
        IntegrityError: one of them is damaged.
    """
    found = []
    with _sound(path):
        content, defined = _yaml(data), _yaml(definitions).get("stages") or {}
        for name, stage in (content.get("stages", {}) if "schema" in content else content).items():  # DVC 1
            definition = defined.get(name) or defined.get(name.split("@")[0]) or {}
            definition = definition.get("do", definition)
            patterns = list(_patterns(definition))
            folder = join(dirname(path), _place(defined, name, definition.get("wdir", ".")))
            for table in stage.get("outs") or ():
                options = [each for pattern, each in patterns if pattern.fullmatch(table["path"])]
                if options and options[0].get("cache") != "false":
                    found.append(_output({**options[0], **table}, folder))
    return found


def artifacts(data: bytes) -> dict[str, dict[str, str]]:
    """Return the texts about the artifacts of a `dvc.yaml`, by their names; none if it is damaged."""
    found: dict[str, dict[str, str]] = {}
    with suppress(IntegrityError), _sound("dvc.yaml"):  # `locked` reports it
        for name, table in (_yaml(data).get("artifacts") or {}).items():
            found[name] = {key: value for key, value in table.items() if isinstance(value, str)}
    return found


def listed(md5: str, data: bytes) -> list[Listed]:
    """Return the files in the listing of a folder.

    Raises:
        IntegrityError: it does not have this checksum, or is no listing.
    """
    if hashlib.md5(data, usedforsecurity=False).hexdigest() + FOLDER != md5:
        raise IntegrityError(f"the listing {md5} is damaged: it has another checksum.")
    found: list[Listed] = []
    with _sound(f"the listing {md5}"):
        rows = json.loads(data)
        if not isinstance(rows, list):
            raise TypeError
        found += (_listed(table, _text(table["relpath"])) for table in rows)
    return found


def _listed(table: Mapping[str, Any], path: str) -> Listed:
    md5, size, version = table.get("md5", ""), _text(table.get("size")), table.get("version_id")
    for cloud in table.get("cloud", {}).values():
        version = cloud.get("version_id")
    if not _MD5.fullmatch(md5):
        raise ValueError(f"the MD5 {md5!r:.50} of {path!r:.50} is malformed")
    bytes_ = int(size) if size.isdecimal() and len(size) < 20 else None
    return Listed(path, md5, bytes_, _text(table.get("isexec")).lower() == "true", version and _text(version))


def _output(table: Mapping[str, Any], folder: str) -> Output:
    file = _listed(table, _text(table["path"]))
    return Output(
        file.path if "://" in file.path else normpath(join(folder, file.path)),
        file.md5,
        "md5" if table.get("hash") == "md5" else "md5-dos2unix",
        *file[2:],
        tuple(_listed(each, _text(each["relpath"])) for each in table.get("files") or ()),
        _text(next(iter(table.get("cloud", {})), table.get("remote", ""))),
        table.get("push") != "false",
    )


def _place(defined: Mapping[str, Any], name: str, folder: str) -> str:
    """Return the folder of a stage, with the item of a list for which it was made."""
    base, _, item = name.partition("@")
    several = (defined.get(base) or {}).get("foreach")
    return _ITEM.sub(lambda _: item, folder) if isinstance(several, list) else folder


def _patterns(definition: Mapping[str, Any]) -> Iterator[tuple[re.Pattern[str], Mapping[str, Any]]]:
    """Yield the outputs of a stage: a pattern of the path, in which a template is any text, and options."""
    for each in (out for key in ("outs", "metrics", "plots") for out in definition.get(key) or ()):
        for path, options in (each if isinstance(each, dict) else {each: {}}).items():
            pattern = re.compile(".*".join(map(re.escape, _TEMPLATE.split(path))))
            yield pattern, options if isinstance(options, dict) else {}


def _text(value: object) -> str:
    if isinstance(value, list | dict):  # by references between its parts, its text may be endless
        raise TypeError
    return str(value)


def _yaml(data: bytes) -> Mapping[str, Any]:
    import yaml

    try:
        loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
        content: Mapping[str, Any] = yaml.load(data, loader) or {}  # noqa: S506  # it makes only texts
    except yaml.YAMLError as error:
        raise ValueError(getattr(error, "problem", None) or "it is no text") from error
    return content


@contextmanager
def _sound(where: str) -> Iterator[None]:
    """Turn what reading a damaged file raises into one error."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "its structure is not that of DVC"
        raise IntegrityError(f"{where} is damaged: {reason}.") from error
