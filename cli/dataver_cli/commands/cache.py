"""`dataver cache`: the group of commands about what this machine keeps."""

from dataver_cli.group import LazyGroup

SECTIONS = {
    "Look": {
        "info": "Show what this machine keeps, how large it may become, and who uses it.",
        "verify": "Hash every cached file; replace what is damaged.",
    },
    "Make room": {
        "clean": "Remove cached versions that nobody uses.",
    },
}

command = LazyGroup(
    "cache",
    package="dataver_cli.cache",
    sections=SECTIONS,
    help="See and clean what this machine keeps of fetched versions.",
    examples=(
        "$ dataver cache info",
        "$ dataver cache clean --older 30d",
        "$ dataver cache clean --all --yes",
        "$ dataver cache verify",
    ),
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
