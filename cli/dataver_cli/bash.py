"""Completion for bash, which splits words at `@`, `:` and `=`.

The idea: bash passes the command line as it was typed, and this module splits it as the shell does. Bash
replaces only the part of the word after its last separator, so the text before that is left out of the
completions.
"""

import os
from typing import Any

from click.shell_completion import BashComplete, CompletionItem, split_arg_string

__all__ = ["Bash"]

_SOURCE = """\
%(complete_func)s() {
    local type value
    while IFS=',' read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            begin) compopt -o nospace; COMPREPLY+=("$value") ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \
%(complete_var)s=bash_complete "$1")
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class Bash(BashComplete):
    """Completion of whole words in bash, for any value of COMP_WORDBREAKS."""

    source_template = _SOURCE

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the cursor, and the word at it."""
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)
        incomplete = "" if not words or line[-1].isspace() else words.pop()
        option, equals, _ = incomplete.partition("=")
        self._option = option + equals if option.startswith("-") and equals else ""
        breaks = set(os.environ.get("COMP_WORDBREAKS", "")) & set(incomplete)
        # Readline keeps `@` and `$` with the word that they begin.
        starts = (incomplete.rindex(each) + (each not in "@$") for each in breaks)
        self._before = incomplete[: max(starts, default=0)]
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """Return the type and the text of a completion; `begin` if the word may continue."""
        kind = "begin" if item.begin and item.type == "plain" else item.type
        return f"{kind},{(self._option + str(item.value)).removeprefix(self._before)}"
