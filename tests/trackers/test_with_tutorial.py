"""Chapter 2 of the tutorial, and the page of the trackers, run as they are written."""

from first_hour.playing import Play


def test_the_chapter_is_typed_and_its_answers_are_right(play: Play) -> None:
    """Every command of the chapter prints what the page shows."""
    play("docs/tutorial-lineage.md")


def test_the_page_of_the_trackers(play: Play) -> None:
    """Its code for MLflow runs."""
    play("docs/trackers.md")


def test_the_page_for_users_of_mlflow(play: Play) -> None:
    """Its commands and its code run."""
    play("docs/coming-from/mlflow.md")
