"""`dataver lineage`: the group of questions about runs and their data."""

from dataver_cli.group import LazyGroup

SECTIONS = {
    "Ask": {
        "run": "Show which versions a run consumed and produced, and what it was.",
        "version": "Show which runs consumed or produced a version, and what came of it.",
        "file": "Show every version that holds a content, and every run that saw it.",
        "impact": "Show which runs and versions are tainted if some data is bad.",
        "compare": "Show whether two runs read the same data, and what differs.",
    },
    "Keep": {
        "sync": "Bring what others wrote, and send what waits here.",
        "rebuild": "Make the local index anew from the repository.",
        "compact": "Join the repository's many small lineage objects into few.",
        "export": "Write all lineage as OpenLineage events.",
    },
}

command = LazyGroup(
    "lineage",
    package="dataver_cli.lineage",
    sections=SECTIONS,
    help="Ask from a run to its data, and from data to every run that saw it.",
    examples=(
        "$ dataver lineage run mlflow:4f1c",
        "$ dataver lineage version vision/cats@1.0.1 --down",
        "$ dataver lineage file train/img_0042.jpg",
        "$ dataver lineage impact vision/cats@1.0.0 --paths 'train/bad/**'",
        "$ dataver lineage compare mlflow:4f1c mlflow:9d02",
    ),
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
