"""`dataver cache`: the group of commands for this machine's cache."""

from dataver_cli.group import LazyGroup

SECTIONS = {
    "Inspect": {
        "info": "Show the contents of the cache, its size limit, and the processes that use it.",
        "verify": "Hash every cached file and replace damaged files.",
    },
    "Several users": {
        "share": "Let other users read the cached versions, but no other part of the cache.",
    },
    "Free space": {
        "clean": "Remove cached versions that are not in use.",
    },
}

command = LazyGroup(
    "cache",
    package="dataver_cli.cache",
    sections=SECTIONS,
    help="Show and clean this machine's cache.",
    examples=(
        "$ dataver cache info",
        "$ dataver cache clean --older 30d",
        "$ dataver cache clean --all --yes",
        "$ dataver cache verify",
    ),
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
