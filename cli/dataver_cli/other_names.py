"""Names that other tools give to commands: aliases, and the answers to names that dataver does not have."""

__all__ = ["ALIASES", "ANSWERS"]

ALIASES = {
    "rm": "remove",
    "mv": "move",
    "commit": "finalize",
    "checkout": "fetch",
    "get": "fetch",
    "close": "finalize",
    "compare": "diff",
}
"""Names of commands of shells, git and ClearML Data."""

_LOCAL_CHANGES = "`dataver status` shows the changes of a draft, `dataver diff REF` those of a version"
ANSWERS = {
    "publish": "`dataver upload` publishes a finalized draft",
    "squash": "every version is complete; `dataver create NAME --parent REF --parent REF` merges versions",
    "find": "`dataver search WORDS`, or `dataver list --where CONDITION`",
    "query": "`dataver search WORDS`, or `dataver list --where CONDITION`",
    "grep": "`dataver search WORDS` searches descriptions and the paths of files",
    "set-description": "`dataver describe REF -m TEXT` describes a version",
    "set-metadata": "`dataver describe REF --set KEY=VALUE` attaches values to a version",
    "get-metadata": "`dataver show REF` shows the metadata",
    "get-local-copy": "`dataver fetch REF` prints a read-only folder",
    "get-mutable-local-copy": "`dataver fetch REF --dest DIR` writes a copy that can be changed",
    "get-mutable-copy": "`dataver fetch REF --dest DIR` writes a copy that can be changed",
    "add-files": "`dataver add` adds files and folders to the draft",
    "add-external-files": "`dataver add-external` records files that stay where they are",
    "remove-files": "`dataver remove` removes files from the draft",
    "sync-folder": "`dataver sync` mirrors a folder",
    "list-files": "`dataver ls REF` lists the files of a version",
    "list-datasets": "`dataver list` lists datasets and versions",
    "list-added-files": _LOCAL_CHANGES,
    "list-modified-files": _LOCAL_CHANGES,
    "list-removed-files": _LOCAL_CHANGES,
    "verify-dataset-hash": "`dataver verify REF FOLDER` compares a folder with a version",
    "download": "`dataver fetch REF` fetches a version",
    "clone": "`dataver mirror` copies a repository, `dataver fetch REF` fetches a version",
    "info": "`dataver show REF` shows the details of a version",
    "history": "`dataver log NAME` shows the history of a dataset",
    "revert": "`dataver restore REF` makes the content of an older version the latest",
    "rollback": "`dataver restore REF` makes the content of an older version the latest",
    "reset": "`dataver discard` deletes a draft, `dataver restore REF` makes an older version the latest",
    "prune": "`dataver gc` frees data that no version needs, `dataver delete` deletes versions",
}
"""What to use instead of commands and methods of ClearML Data and other tools, with `-` for `_`."""
