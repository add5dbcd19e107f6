"""`dataver compat`: the group of programs of other tools, on a repository."""

from dataver_cli.group import LazyGroup

SECTIONS = {
    "Programs": {
        "clearml-data": "Run commands of ClearML's `clearml-data` on a repository.",
    },
}

command = LazyGroup(
    "compat",
    package="dataver_cli.compat",
    sections=SECTIONS,
    help="Run commands of other tools on a repository, with their names and options.",
    examples=("$ dataver compat clearml-data sync --project vision --name cats --folder photos",),
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
