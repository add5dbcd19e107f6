"""`dataver import`: the group of commands that bring the history of another tool."""

from dataver_cli.group import LazyGroup

SECTIONS = {
    "Repositories": {
        "dvc": "Import the history of a DVC repository, one version a change of the data.",
        "git-lfs": "Import the files of git-lfs, one version a change of them.",
    },
    "Hubs and trackers": {
        "clearml": "Import datasets of ClearML, one version for each of theirs.",
        "hf": "Import a dataset of the Hugging Face Hub, one version a commit that changed files.",
        "wandb": "Import artifacts of Weights & Biases, one version for each of theirs.",
    },
    "Files": {
        "folders": "Import folders such as data_2026-01-03/, one version a folder.",
        "s3-versions": "Import the history that a versioned bucket keeps of its objects.",
    },
}

command = LazyGroup(
    "import",
    package="dataver_cli.importing",
    sections=SECTIONS,
    help="Import the history of another tool, one version for each of its versions.\n\n"
    "--plan shows what would be read and stored. A repeated import brings only what is new, and an "
    "interrupted one continues. What cannot be brought is named, and the exit code is 3.",
    examples=(
        "$ dataver import dvc . --plan",
        "$ dataver import clearml s3://ml-data/clearml --project vision",
        "$ dataver import folders 'data_*/' --name vision/cats",
    ),
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
