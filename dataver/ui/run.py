"""One run: its facts, the versions that it read and produced, and the systems that it belongs to."""

import shlex
from typing import Any, Final

from dataver.documents import answer_values, link_values
from dataver.lineage.queries.results import IndexedLink, RunAnswer
from dataver.ui.asked import Asked
from dataver.ui.runs import row

__all__ = ["command", "facts", "page"]

_LINKS: Final = 200
_PACKAGES: Final = 1_000
_COMMAND: Final = 4_000  # characters


def page(asked: Asked) -> dict[str, Any]:
    """Return a run (`key`: of it, or of one of its contexts)."""
    answer = asked.repository.lineage.run(asked.required("key"))
    packages = asked.repository.lineage.packages(answer)
    return {
        **answer_values(answer),
        **row(answer.run),
        "command": command(answer)[:_COMMAND],
        "fetch": shlex.join(("dataver", "fetch", "--run", answer.run.key, "--dest", "FOLDER")),
        "about": facts(answer),
        "inputs": _links(answer.inputs),
        "outputs": _links(answer.outputs),
        "links": {"inputs": len(answer.inputs), "outputs": len(answer.outputs)},
        "packages": packages[:_PACKAGES],
        "number_of_packages": len(packages),
    }


def command(answer: RunAnswer) -> str:
    """Return the command line of a run; an empty text if it is unknown."""
    return shlex.join(map(str, answer.facts.get("argv") or ()))


def facts(answer: RunAnswer) -> dict[str, str]:
    """Return the short facts of a run by name."""
    git = answer.facts.get("git")
    code = git if isinstance(git, dict) else {}
    found = {
        "commit": code.get("commit") or answer.run.commit,
        "branch": code.get("branch"),
        "uncommitted changes": "yes" if code.get("dirty") else None,
        "code": code.get("remote"),
        "python": answer.facts.get("python"),
        "platform": answer.facts.get("platform"),
        "processes": answer.processes if answer.processes > 1 else None,
    }
    return {name: str(value) for name, value in found.items() if value}


def _links(links: list[IndexedLink]) -> list[dict[str, Any]]:
    shown = links[:_LINKS]
    return [{**link_values(each), "part": each.part, "known": each.label is not None} for each in shown]
