"""The files in which DVC names data: `*.dvc`, `dvc.lock` with `dvc.yaml`, and the listings of folders.

The idea: all scalars of YAML are read as texts. DVC writes YAML 1.2, so a parser of 1.1 would take a file
named `no` for false, and almost every scalar is meant to be a text.

The files may be cut or hostile: all values are checked, and the only error is `IntegrityError`.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from posixpath import dirname, join, normpath
from typing import Any, Final, NamedTuple

from dataver.errors import IntegrityError

# Imports in functions: PyYAML is optional.

__all__ = ["FOLDER", "Listed", "Output", "Stages", "Table"]
__all__ += ["artifacts", "listed", "locked", "outputs", "parse_yaml", "stages"]

FOLDER: Final = ".dir"
"""The end of the checksum of a folder's listing."""

Table = Mapping[str, Any]
Stages = Mapping[str, tuple[str, Sequence[tuple[re.Pattern[str], Table]]]]
"""By name, the folder of a stage, and the patterns and options of its outputs."""

_MD5: Final = re.compile(r"[0-9a-f]{32}(\.dir)?")
_TEMPLATE: Final = re.compile(r"\$\{.*?\}")


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
        remote: the name of the remote that keeps it; "" for the default.
        pushed: whether a remote keeps it at all.
        source: the repository or URL from which it was imported; "" for none.
        version: the version of the object, if the remote keeps it under its own name.
        files: the files of such a folder.
    """

    path: str
    md5: str
    algorithm: str
    size: int | None
    executable: bool
    remote: str = ""
    pushed: bool = True
    source: str = ""
    version: str | None = None
    files: tuple[Listed, ...] = ()


def parse_yaml(where: str, data: bytes) -> Table:
    """Return the mapping in a YAML file; all scalars are texts."""
    import yaml

    try:
        content = yaml.load(data, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))  # noqa: S506  # texts only
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = getattr(error, "problem", None) or "it is no text"
        raise IntegrityError(f"{where} is damaged: {reason}.") from error
    return _table(content or {}, where)


def outputs(where: str, content: Table) -> Iterator[Output]:
    """Yield the outputs that a `.dvc` file at `where` names."""
    folder = join(dirname(where), _text(content, "wdir", where, "."))
    dep = next(iter(_tables(content, "deps", where)), {})
    source = _text(_table(dep["repo"], where), "url", where) if "repo" in dep else ""
    for table in _tables(content, "outs", where):
        output = _output(table, folder, where)
        if source:
            output = output._replace(source=source)
        elif not output.md5 and not output.files and "://" in _text(dep, "path", where, ""):  # not downloaded
            output = _output({**dep, "path": table["path"]}, folder, where)._replace(source=dep["path"])
        if table.get("cache") != "false":  # then the file is in git
            yield output


def locked(where: str, content: Table, known: Stages) -> Iterator[Output]:
    """Yield the outputs that `dvc.lock` at `where` names and `dvc.yaml` does not leave to git."""
    named = content.get("stages", {}) if "schema" in content else content  # of DVC 1
    for name, stage in _table(named, where).items():
        folder, patterns = known.get(name) or known.get(name.split("@")[0]) or ("", [])
        for table in _tables(_table(stage, where), "outs", where):
            path = _text(table, "path", where)
            options = next((options for pattern, options in patterns if pattern.fullmatch(path)), None)
            if options is not None and options.get("cache") != "false":
                yield _output({**options, **table}, join(dirname(where), folder), where)


def stages(where: str, content: Table) -> Stages:
    """Return the stages of `dvc.yaml`."""
    found = {}
    for name, stage in _table(content.get("stages") or {}, where).items():
        definition = _table(stage, where)
        definition = _table(definition.get("do", definition), where)
        outs = [each for key in ("outs", "metrics", "plots") for each in definition.get(key) or ()]
        pairs = [pair for each in outs for pair in (each.items() if isinstance(each, dict) else [(each, {})])]
        patterns = [(_pattern(path), _options(options)) for path, options in pairs]
        found[name] = (_text(definition, "wdir", where, "."), patterns)
    return found


def artifacts(content: Table) -> dict[str, dict[str, str]]:
    """Return the texts of the artifacts that `dvc.yaml` describes, by their names."""
    named = content.get("artifacts")
    found = named.items() if isinstance(named, dict) else ()
    return {
        name: {key: value for key, value in table.items() if isinstance(value, str)}
        for name, table in found
        if isinstance(table, dict)
    }


def listed(md5: str, data: bytes) -> list[Listed]:
    """Return the files in the listing of a folder.

    Raises:
        IntegrityError: it does not have this checksum, or is no listing.
    """
    if hashlib.md5(data, usedforsecurity=False).hexdigest() + FOLDER != md5:
        raise IntegrityError(f"the listing {md5} is damaged: it has another checksum.")
    try:
        return _listed(json.loads(data), md5)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"the listing {md5} is no JSON: {error}.") from error


def _listed(content: object, where: str) -> list[Listed]:
    if not isinstance(content, list):
        raise IntegrityError(f"{where} has no list of files.")
    found = []
    for each in content:
        table = _table(each, where)
        path, md5, size = _text(table, "relpath", where), _md5(table, where), _size(table)
        version = table.get("version_id")
        for cloud in _table(table.get("cloud", {}), where).values():
            version = _table(cloud, where).get("version_id")
        executable = str(table.get("isexec")).lower() == "true"
        found.append(Listed(path, md5, size, executable, version))
    return found


def _output(table: Table, folder: str, where: str) -> Output:
    path = _text(table, "path", where)
    (file,) = _listed([{**table, "relpath": path}], where)
    files = tuple(_listed(table.get("files") or [], where))
    return Output(
        path if "://" in path else normpath(join(folder, path)),
        *(file.md5, "md5" if table.get("hash") == "md5" else "md5-dos2unix", file.size, file.executable),
        remote=next(iter(_table(table.get("cloud", {}), where)), _text(table, "remote", where, "")),
        pushed=table.get("push") != "false",
        version=file.version,
        files=files,
    )


def _options(value: object) -> Table:
    return value if isinstance(value, dict) else {}


def _pattern(path: object) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, _TEMPLATE.split(str(path)))))


def _md5(table: Table, where: str) -> str:
    md5 = table.get("md5", "")
    if md5 and not (isinstance(md5, str) and _MD5.fullmatch(md5)):
        raise IntegrityError(f"{where} is damaged: the MD5 {md5!r:.50} is malformed.")
    return str(md5)


def _size(table: Table) -> int | None:
    size = str(table.get("size"))
    return int(size) if size.isdecimal() and len(size) < 20 else None


def _table(value: object, where: str) -> Table:
    if not isinstance(value, dict):
        raise IntegrityError(f"{where} is damaged: {value!r:.50} is no mapping.")
    return value


def _tables(content: Table, key: str, where: str) -> list[Table]:
    found = content.get(key) or []
    if not isinstance(found, list):
        raise IntegrityError(f"{where} is damaged: {key} is no list.")
    return [_table(each, where) for each in found]


def _text(table: Table, key: str, where: str, default: str | None = None) -> str:
    value = table.get(key, default)
    if not isinstance(value, str):
        raise IntegrityError(f"{where} is damaged: it has no {key}.")
    return value
