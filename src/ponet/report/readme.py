"""Reports inside a Markdown file, between `<!-- report:NAME -->` and `<!-- /report -->`, which no hand edits."""

import re
from pathlib import Path

from ponet.report.registry import markdown
from ponet.utils.errors import PoNetError
from ponet.utils.files import explain, write_text

_BLOCK = re.compile(r"<!-- report:(?P<name>[\w-]+) -->\n.*?<!-- /report -->", re.DOTALL)
_OPENING = re.compile(r"<!-- report:[\w-]+ -->")


def filled(path: Path, results: Path = Path("results")) -> tuple[str, str]:
    """The file's text as it is, and with every report block as the result files give it now.

    Raises:
        PoNetError: for a file without blocks, a block without an end, or an unknown report.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise explain(error, path) from error
    blocks = _BLOCK.findall(text)
    if len(blocks) != len(_OPENING.findall(text)):
        raise PoNetError(f"A report block in '{path}' has no end: close it with '<!-- /report -->'.")
    if not blocks:
        raise PoNetError(f"'{path}' has no report block: put '<!-- report:documents -->' and '<!-- /report -->' in it.")

    def fill(block: re.Match[str]) -> str:
        name = block["name"]
        return f"<!-- report:{name} -->\n\n{markdown(name, results)}\n\n<!-- /report -->"

    return text, _BLOCK.sub(fill, text)


def pages(readme: Path) -> list[Path]:
    """The Markdown files with report blocks: `readme`, and in `docs` beside it those that have any."""
    docs = sorted(readme.parent.glob("docs/*.md"))
    return [readme, *(path for path in docs if _OPENING.search(path.read_text(encoding="utf-8")))]


def write_reports(path: Path, results: Path = Path("results")) -> bool:
    """Fills every report block of the file; says whether that changed anything."""
    before, after = filled(path, results)
    if after == before:
        return False
    write_text(path, after)
    return True


def check_reports(path: Path, results: Path = Path("results")) -> None:
    """Fails where a report block is not what the result files give now.

    Raises:
        PoNetError: for a stale block.
    """
    before, after = filled(path, results)
    if after != before:
        raise PoNetError(f"The reports in '{path}' are not those of '{results}': run `ponet report --write-readme`.")
