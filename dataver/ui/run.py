"""One run: its facts, the versions that it read and produced, and the systems that it belongs to."""

import shlex
from typing import Any, Final

from dataver.documents import answer_values, link_values
from dataver.lineage.queries.results import IndexedLink, RunAnswer
from dataver.ui.asked import Asked
from dataver.ui.runs import row

__all__ = ["facts", "link_row", "page"]

_LINKS: Final = 200
_PACKAGES: Final = 1_000


def page(asked: Asked) -> dict[str, Any]:
    """Return a run (`key`: of it, or of one of its contexts)."""
    answer = asked.repository.lineage.run(asked.required("key"))
    packages = asked.repository.lineage.packages(answer)
    inputs = sorted(answer.inputs, key=lambda each: not each.used)
    return {
        **answer_values(answer),
        **row(answer.run),
        "command": shlex.join(answer.command),
        "fetch": shlex.join(("dataver", "fetch", "--run", answer.run.key, "--dest", "FOLDER")),
        "about": facts(answer),
        "inputs": list(map(link_row, inputs[:_LINKS])),
        "outputs": list(map(link_row, answer.outputs[:_LINKS])),
        "links": {"inputs": len(inputs), "outputs": len(answer.outputs)},
        "used": sum(each.used for each in inputs),
        "packages": packages[:_PACKAGES],
        "number_of_packages": len(packages),
    }


def facts(answer: RunAnswer) -> dict[str, str]:
    """Return the short facts of a run by name."""
    run, git = answer.run, answer.facts.get("git")
    code = git if isinstance(git, dict) else {}
    found = {
        "commit": code.get("commit") or run.commit,
        "branch": code.get("branch"),
        "uncommitted changes": "yes" if code.get("dirty") else None,
        "code": code.get("remote"),
        "user": run.user,
        "host": run.host,
        "python": answer.facts.get("python"),
        "platform": answer.facts.get("platform"),
        "processes": answer.processes if answer.processes > 1 else None,
    }
    return {name: str(value) for name, value in found.items() if value}


def link_row(link: IndexedLink | None) -> dict[str, Any] | None:
    """Return a link as JSON values, with a description of the part of the version."""
    return None if link is None else {**link_values(link), "part": link.part, "known": link.label is not None}
