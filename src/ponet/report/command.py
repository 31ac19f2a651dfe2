"""`ponet report`: tables on the terminal, as Markdown, as plots, or inside Markdown files.

In a file the tables stand between `<!-- report:NAME -->` and `<!-- /report -->`, where they aren't edited by hand.
"""

import re
from pathlib import Path

from ponet.report.registry import REPORTS, find_report, markdown
from ponet.report.tables import show
from ponet.utils.errors import PoNetError, printable
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
    if after != before:
        write_text(path, after)
    return after != before


def check_reports(path: Path, results: Path = Path("results")) -> None:
    """Raises a PoNetError where a report block is not what the result files give now."""
    before, after = filled(path, results)
    if after != before:
        raise PoNetError(f"The reports in '{path}' are not those of '{results}': run `ponet report --write-readme`.")


def report(
    name: str | None = None,
    results: Path = Path("results"),
    as_markdown: bool = False,
    write_readme: bool = False,
    check: bool = False,
    readme: Path = Path("README.md"),
    plots: Path | None = None,
) -> None:
    """Prints one report, or all of them; or fills, or checks, the blocks of the README.

    Args:
        name: of a report; None for all.
        results: the folder of result files.
        as_markdown: Markdown text instead of tables for the terminal.
        write_readme: fill the report blocks of `readme`, and of the pages in `docs` beside it, instead of printing.
        check: print nothing and fail if one of those blocks is not what the result files give.
        readme: the Markdown file with the blocks.
        plots: the folder to draw into, instead of printing, where a report has something to draw.

    Raises:
        PoNetError: for an unknown report, a missing folder, a broken result file, or a stale README.
    """
    if not results.is_dir():
        raise PoNetError(f"There is no folder '{results}' of results here: name it, or run this where it is.")
    if check:
        for page in pages(readme):
            check_reports(page, results)
        return
    if write_readme:
        for page in pages(readme):
            print(f"{printable(page)}: {'updated' if write_reports(page, results) else 'up to date'}")
        return
    chosen = REPORTS if name is None else {name: find_report(name)}
    if plots is not None:
        drawn = [path for each in chosen.values() if each.plots for path in each.plots(results, plots)]
        print(printable("\n".join(map(str, drawn))) if drawn else "There is nothing to draw yet.")
    elif as_markdown:
        print(printable("\n\n".join(markdown(each, results) for each in chosen)))
    else:
        from rich.console import Console

        console = Console()
        for table in (table for each in chosen.values() for table in each.tables(results)):
            show(table, console)
