"""Where DVC keeps bytes: its cache and its remotes.

The idea: an object has a name, made of its MD5, below the cache and below each remote. DVC 3 puts a folder
before it, so objects of older versions lie beside the new ones. The object of a folder lists its files. A
remote with versions of objects keeps files under their own names instead.
"""

import configparser
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from dataver.errors import DataverError, InvalidInput, NotFound
from dataver.importers.dvc_files import Listed, Output, listed
from dataver.lru import LRUCache
from dataver.machine.configuration import options_for
from dataver.storage import Store, open_store

__all__ = ["DvcObjects", "Remote"]

_SECTION: Final = re.compile(r"""'?(\w+)(?: +"(.*)")?'?""")
_OPTIONS: Final = {  # of DVC by protocol, with their names in dataver or in the package of the protocol
    "s3": "endpointurl=endpoint_url region profile allow_anonymous_login=anon access_key_id=key "
    "secret_access_key=secret session_token=token",
    "gs": "endpointurl=endpoint_url projectname=project credentialpath=token",
    "azure": "account_name account_key connection_string sas_token tenant_id client_id client_secret",
    "ssh": "user=username port password keyfile=key_filename",
}
_PROTOCOLS: Final = {"azure": "az"}
_MAX_LISTING: Final = 1 << 30
_KEPT: Final = 2_000_000  # files of listings in memory


class Remote(NamedTuple):
    """A remote, or the cache: a folder or URL, and options of its store."""

    url: str
    options: dict[str, str]

    @property
    def is_folder(self) -> bool:
        """Whether it is on this machine."""
        return "://" not in self.url

    def open(self) -> Store:
        """Return the store; what this machine has configured for it takes precedence."""
        return open_store(self.url, self.options | (options_for(self.url) or {}) or None)


class DvcObjects:
    """The cache and the remotes of a DVC repository.

    Args:
        configurations: texts of configuration files, the weakest first, each with the folder to which its
            paths are relative.

    Raises:
        InvalidInput: a configuration is malformed.
    """

    def __init__(self, configurations: Iterable[tuple[str, str]]) -> None:
        self._sections: dict[str, dict[str, str]] = {}
        for text, folder in configurations:
            self._read(text, folder)
        self._listings: LRUCache[tuple[str, str], list[Listed]] = LRUCache(size=_KEPT, size_of=len)

    def remote(self, name: str = "", above: tuple[str, ...] = ()) -> Remote | None:
        """Return a remote; without a name, the default one or the only one. None if it is not configured.

        `above` are remotes that are defined by this one.
        """
        names = [section[7:] for section in self._sections if section.startswith("remote ")]
        default = self._sections.get("core", {}).get("remote") or (names[0] if len(names) == 1 else "")
        name = (name or default).lower()
        section = self._sections.get(f"remote {name}", {})
        protocol, parted, rest = section.get("url", "").rstrip("/").partition("://")
        if protocol == "remote":  # a place below another remote
            base, _, below = rest.partition("/")
            found = None if name in above else self.remote(base, (*above, name))
            return found and Remote(f"{found.url}/{below}", found.options)
        words = (word.partition("=") for word in _OPTIONS.get(protocol, "").split())
        options = {ours or theirs: section[theirs] for theirs, _, ours in words if theirs in section}
        return Remote(_PROTOCOLS.get(protocol, protocol) + parted + rest, options) if protocol else None

    def options(self) -> dict[str, dict[str, str]]:
        """Return the options of the remotes by their URLs."""
        names = (section[7:] for section in self._sections if section.startswith("remote "))
        return {each.url: each.options for each in map(self.remote, names) if each and not each.is_folder}

    def files(self, output: Output) -> list[Listed]:
        """Return the files of a folder.

        Raises:
            NotFound: its listing is neither in the cache nor in the remote.
            IntegrityError: it is damaged.
            StoreError: the remote cannot be read.
        """
        key = (output.algorithm, output.md5)
        found = list(output.files) or self._listings.get(key)
        if found is None:
            found = self._find_listing(output)
            self._listings.put(key, found)
        return found

    def place(self, output: Output, md5: str, below: str) -> tuple[str, int | None]:
        """Return the path or URL of a file's object, and its size if it is known. The cache has priority.

        Args:
            output: the file, or the folder that has it.
            md5: of the file.
            below: for a file in a folder "/" and its path there.

        Raises:
            NotFound: the object is known to be nowhere.
        """
        if not output.md5 and output.url:
            return output.url.rstrip("/") + below, None
        key = _key(output, md5)
        for remote in self._remotes(output):
            if not remote.is_folder:
                named = bool(output.files or output.version)
                return f"{remote.url}/{output.path}{below}" if named else f"{remote.url}/{key}", None
            with suppress(OSError):
                path = f"{remote.url}/{key}"
                return path, os.stat(path).st_size  # noqa: PTH116  # of many files: takes a third of the time
        raise NotFound(self._reason(output))

    def _find_listing(self, output: Output) -> list[Listed]:
        failure: DataverError = NotFound(self._reason(output))
        for remote in self._remotes(output):
            try:
                data = remote.open().get_bounded(_key(output, output.md5), _MAX_LISTING)
                return listed(output.md5, data)
            except NotFound:
                continue
            except DataverError as error:
                failure = error
        raise failure

    def _remotes(self, output: Output) -> list[Remote]:
        cache = self._sections.get("cache", {}).get("dir")
        remote = self.remote(output.remote) if output.pushed and not output.source else None
        return ([Remote(cache, {})] if cache else []) + ([remote] if remote else [])

    def _reason(self, output: Output) -> str:
        if output.source:
            return f"it was imported from {output.source}, and is not in the cache; `dvc fetch` gets it"
        if not output.pushed:
            return "it is not in the cache, and `push: false` keeps it out of remotes"
        remote = self.remote(output.remote)
        if remote is None:
            return f"it is not in the cache, and the remote {output.remote or '(default)'} is not configured"
        return f"it is neither in the cache nor in {remote.url}"

    def _read(self, text: str, folder: str) -> None:
        parser = configparser.RawConfigParser(strict=False, default_section="", delimiters=("=",))
        try:
            parser.read_string(text)
        except configparser.Error as error:
            raise InvalidInput(
                f"a configuration of DVC in {folder} is malformed: {error.message}."
            ) from error
        for header in parser.sections():
            named = _SECTION.fullmatch(header)
            section = " ".join(filter(None, named.groups())).lower() if named else header
            values = {key: value.strip("\"'") for key, value in parser.items(header)}
            for key in {"url", "dir"} & values.keys():
                if "://" not in values[key]:
                    values[key] = str(Path(folder, Path(values[key]).expanduser()).resolve())
            self._sections.setdefault(section, {}).update(values)


def _key(output: Output, md5: str) -> str:
    return f"{'files/md5/' if output.algorithm == 'md5' else ''}{md5[:2]}/{md5[2:]}"
