"""Chapter 3 of the tutorial, and the page of reading, run as they are written."""

from collections.abc import Mapping

from first_hour.playing import Play


def test_the_chapter_is_typed_and_its_answers_are_right(play: Play, bucket: Mapping[str, str]) -> None:
    """Every command of the chapter prints what the page shows; its bucket is on SeaweedFS."""
    play("docs/tutorial-reading.md", bucket)


def test_the_page_of_reading(play: Play, bucket: Mapping[str, str]) -> None:
    """Its code for pandas, PyTorch, fsspec and HTTP runs."""
    play("docs/reading.md", bucket)
