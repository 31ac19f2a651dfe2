"""README and guides: their Python runs, their recipes load, and the commands and options that they name exist.

A block below `<!-- no-test -->` is left out. One below `<!-- needs: peft -->` runs by itself, where that library is
installed.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import ponet
from ponet.cli.app import app
from ponet.config.recipe import load_recipe, split_seeds

ROOT = Path(__file__).parents[1]
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [*GUIDES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
NOTE = r"(?:(?P<skip><!-- no-test -->)|<!-- needs: (?P<needs>\w+) -->)\n+"
BLOCK = re.compile(rf"(?:{NOTE})?^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)

BEFORE = ("|", "--no-python", "--no_python")
"""What a command stands behind, in the middle of a line."""


def blocks(page: Path, language: str, needs: str | None = None) -> list[tuple[int, str]]:
    """Line and content of every block of a language that isn't left out, and of a library that it needs."""
    text = page.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, found.start("code")) + 1, found["code"])
        for found in BLOCK.finditer(text)
        if found["language"] == language and not found["skip"] and found["needs"] == needs
    ]


def needed(page: Path) -> list[str]:
    """The libraries that blocks of a page need."""
    found = (block["needs"] for block in BLOCK.finditer(page.read_text(encoding="utf-8")))
    return sorted({name for name in found if name})


def with_blocks(language: str) -> list[Any]:
    return [pytest.param(page, id=page.name) for page in GUIDES if blocks(page, language)]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with what the pages use: `runs/reviews`, `runs/segmentation`, and prepared text in `data`."""
    from ponet.tasks.pretraining.prepare import prepare

    monkeypatch.chdir(tmp_path)
    ponet.PoNetForSequenceClassification.from_pretrained(ponet.checkpoint()).save_pretrained("runs/reviews")
    ponet.PoNetTokenizer.from_pretrained(ponet.checkpoint()).save_pretrained("runs/reviews")
    Path("runs/reviews/recipe.yaml").write_text(load_recipe("finetune/base").to_yaml(), encoding="utf-8")
    Path("runs/reviews/result.json").write_text('{"train": {}}', encoding="utf-8")
    ponet.PoNetForSentenceScoring.from_pretrained(ponet.checkpoint()).save_pretrained("runs/segmentation")
    ponet.PoNetTokenizer.from_pretrained(ponet.checkpoint()).save_pretrained("runs/segmentation")
    Path("book.txt").write_text("It was a dark night. Nobody slept.\n" * 20, encoding="utf-8")
    prepare(["book.txt"], Path("data"), tokenizer=ponet.checkpoint(), validation_fraction=0)
    return tmp_path


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("page", with_blocks("python"))
def test_python_runs(page: Path) -> None:
    names: dict[str, Any] = {}
    for line, code in blocks(page, "python"):
        exec(compile("\n" * (line - 1) + code, str(page), "exec"), names)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(("page", "library"), [(page, name) for page in GUIDES for name in needed(page)])
def test_python_runs_with_another_library(page: Path, library: str) -> None:
    pytest.importorskip(library, reason=f"{page.name} has a block for {library}, which isn't installed here")
    for line, code in blocks(page, "python", library):
        exec(compile("\n" * (line - 1) + code, str(page), "exec"), {})


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("page", with_blocks("yaml"))
def test_recipes_load(page: Path) -> None:
    for _, text in blocks(page, "yaml"):
        Path("recipe.yaml").write_text(text, encoding="utf-8")
        given = yaml.safe_load(text)
        assert load_recipe("recipe.yaml").model["init"] == given["model"]["init"]


def commands(page: Path) -> Iterator[list[str]]:
    """The words behind each `ponet` of shell blocks and of code in a sentence."""
    text = page.read_text(encoding="utf-8")
    shell = [code.replace("\\\n", " ") for _, code in blocks(page, "bash")]
    lines = [line for code in shell for line in code.splitlines()]
    lines += re.findall(r"(?<!`)`(ponet\s[^`]+)`", BLOCK.sub("", text))
    for line in lines:
        words = shlex.split(line, comments=True)
        for place, word in enumerate(words):
            if word == "ponet" and (place == 0 or words[place - 1] in BEFORE):
                behind = words[place + 1 :]
                yield behind[: next((i for i, word in enumerate(behind) if word in ("|", ">")), None)]


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_commands_exist(page: Path) -> None:
    for words in commands(page):
        line = " ".join(["ponet", *words])
        command: Any = typer.main.get_command(app)
        rest = list(words)
        while rest and rest[0] in getattr(command, "commands", {}):
            command = command.commands[rest.pop(0)]
        options = {option for parameter in command.params for option in parameter.opts} | {"-h", "--help"}
        assert not hasattr(command, "commands") or all(word.startswith("-") for word in rest), (
            f"no such command: {line}"
        )
        unknown = [word for word in rest if re.match("--?[a-z]", word) and word.partition("=")[0] not in options]
        assert not unknown, f"no such option: {line}"


def recipe_of(words: list[str]) -> str | None:
    """The recipe that a command line trains or shows, if it is one that comes with the package."""

    def option(name: str, default: str) -> str:
        return words[words.index(name) + 1] if name in words else default

    match words:
        case ["train" | "finetune" | "distil" | "recipes"]:
            return None
        case ["train", name, *_] | ["recipes", "show", name, *_]:
            return None if re.search(r"[<A-Z]|\.yaml$", name) else name  # a placeholder, or a file
        case ["finetune", *_]:
            return "finetune/base"
        case ["distil", *_]:
            return option("--recipe", "distil/mini")
        case ["pretrain", "run", *_]:
            return f"pretrain/{option('--size', 'mini')}"
    return None


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_recipes_and_their_keys_exist(page: Path) -> None:
    for words in commands(page):
        recipe = recipe_of(words)
        if recipe is not None:
            _, changes = split_seeds([word for word in words if re.match(r"[a-z_.]+=[^<]*$", word)])
            load_recipe(recipe, changes)


def test_readme_is_one_screen() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 180
