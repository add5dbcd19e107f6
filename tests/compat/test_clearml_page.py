"""The page for users of ClearML runs as it is written."""

from first_hour.playing import Play


def test_the_page_for_users_of_clearml(play: Play) -> None:
    """Every command and call of docs/coming-from/clearml.md."""
    play("docs/coming-from/clearml.md")
