"""Small files of every kind."""

from tests.tasks.text.conftest import folder, reviews, write_rows

__all__ = ["folder", "reviews", "write_rows"]
