"""`dataver lineage`: the group of queries about runs and their data."""

from dataver_cli.group import LazyGroup

SECTIONS = {
    "Queries": {
        "run": "Show which versions a run consumed and produced, and its details.",
        "version": "Show which runs consumed or produced a version, and what was made from it.",
        "file": "Show the versions that contain a file's content, and the runs that read it.",
        "impact": "Show which runs and versions are affected if some data is incorrect.",
        "compare": "Show whether two runs read the same data, and the differences.",
    },
    "Maintenance": {
        "sync": "Read new lineage from the repository, and send local entries.",
        "rebuild": "Rebuild the local index from the repository.",
        "verify": "Read all lineage of the repository and report what is damaged or missing.",
        "compact": "Combine many small lineage objects of the repository into few.",
        "export": "Write all lineage as OpenLineage events.",
    },
}

command = LazyGroup(
    "lineage",
    package="dataver_cli.lineage",
    sections=SECTIONS,
    help="Query which data a run used, and which runs used some data.",
    examples=(
        "$ dataver lineage run mlflow:4f1c",
        "$ dataver lineage version vision/cats@1.0.1 --down",
        "$ dataver lineage file train/img_0042.jpg",
        "$ dataver lineage impact vision/cats@1.0.0 --include 'train/bad/**'",
        "$ dataver lineage compare mlflow:4f1c mlflow:9d02",
    ),
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
