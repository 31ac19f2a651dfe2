"""The command `ponet`: arguments in, one function called. Nothing heavy is imported before a command runs."""

from ponet.cli.app import app


def main() -> None:
    """The console script."""
    app(prog_name="ponet")


__all__ = ["app", "main"]
