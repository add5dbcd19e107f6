"""Every damage to lineage in the repository is named, and what is intact is counted."""

import json

import dataver
from dataver.formats.canonical_json import encode_json
from dataver.lineage.index.compact import execute_compaction, plan_compaction
from dataver.repository.layout import attachment_key

from .index_models import event_of, hexed


def test_each_damage_is_named(tmp_path, capsys, monkeypatch) -> None:
    """A changed event, one under another's name, a bundle cut short, an attachment changed or missing."""
    from dataver_cli.main import main

    monkeypatch.setenv("DATAVER_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("DATAVER_LINEAGE", "off")
    repo = dataver.init(tmp_path / "repository")
    listed = [
        repo._core.events.attach(b"pandas==2.3\n"),
        repo._core.events.attach(b"polars==1.0\n"),
        hexed("gone", 64),
    ]

    def put(number: int, **facts: str) -> str:
        event = event_of(number, number, 0, 1, 0, [])
        return repo._core.events.put(event._replace(run=event.run._replace(facts=dict(facts))))

    bundled = [put(number) for number in range(3)]
    execute_compaction(repo._core, plan_compaction(repo._core, least=2))
    (bundle,) = repo._core.events.keys()
    keys = [put(10 + number, packages=digest) for number, digest in enumerate(listed)] + [put(20), put(21)]
    whole = repo.lineage.verify()
    assert (whole.events, whole.attachments, whole.problems[0][0]) == (8, 2, attachment_key(listed[2]))
    assert len(whole.problems) == 1 and len(bundled) == 3

    folder = tmp_path / "repository"
    changed = json.loads((folder / keys[3]).read_bytes())
    (folder / keys[3]).write_bytes(encode_json(changed | {"tool": "other"}, "event"))
    (folder / keys[4]).write_bytes((folder / keys[0]).read_bytes())
    (folder / bundle).write_bytes((folder / bundle).read_bytes()[:-9])
    (folder / attachment_key(listed[1])).write_bytes((folder / attachment_key(listed[0])).read_bytes())
    found = repo.lineage.verify()
    damaged = sorted([keys[3], keys[4], bundle, attachment_key(listed[1]), attachment_key(listed[2])])
    assert [key for key, _ in found.problems] == damaged
    assert (found.events, found.attachments) == (3, 1)
    assert main(["--repo", str(folder), "lineage", "verify"]) == 6
    said = capsys.readouterr()
    assert all(key in said.out for key in damaged)
