"""The command `ponet`: arguments in, one function called. Nothing heavy is imported before a command runs."""

import sys


def main() -> None:
    """The console script. All its imports are inside, so that Ctrl-C prints one word at any time."""
    code = 130
    try:
        from ponet.cli.process import run

        code = run()
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
    sys.exit(code)
