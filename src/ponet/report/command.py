"""What `ponet report` does."""

from pathlib import Path

from ponet.report.readme import check_reports, pages, write_reports
from ponet.report.registry import markdown, plot, report_names, tables
from ponet.report.tables import show
from ponet.utils.errors import PoNetError, printable


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
        name: one of `report_names()`; None for all.
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
    elif write_readme:
        for page in pages(readme):
            print(f"{printable(page)}: {'updated' if write_reports(page, results) else 'up to date'}")
    elif plots is not None:
        drawn = [path for each in _chosen(name) for path in plot(each, results, plots)]
        print(printable("\n".join(map(str, drawn))) if drawn else "There is nothing to draw yet.")
    elif as_markdown:
        print(printable("\n\n".join(markdown(each, results) for each in _chosen(name))))
    else:
        from rich.console import Console

        console = Console()
        for each in _chosen(name):
            for table in tables(each, results):
                show(table, console)


def _chosen(name: str | None) -> list[str]:
    return report_names() if name is None else [name]
