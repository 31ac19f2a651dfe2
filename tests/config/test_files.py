"""Recipe files: inheritance, variants, and one clear sentence for a file that is no recipe."""

from pathlib import Path

import pytest

from ponet.config.files import available_recipes, read_recipe
from ponet.config.recipe import load_recipe
from ponet.utils.errors import PoNetError

DEEP = 100_000


def test_a_chain_of_bases_beside_each_other(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("base: documents/imdb/pooling\ntraining: {epochs: 1e-1, batch_size: 3}\n")
    (tmp_path / "mine.yaml").write_text("base: base.yaml\ntraining: {batch_size: 4}\nmodel: null\n")
    recipe = load_recipe(tmp_path / "mine.yaml")
    assert (recipe.name, recipe.data.path) == ("mine", "imdb")
    assert (recipe.training.epochs, recipe.training.batch_size) == (0.1, 4)
    assert recipe.model == {}
    assert read_recipe(tmp_path / "mine.yaml")["training"]["batch_size"] == 4


FAMILY = """
task: text
description: Reviews
data: {path: reviews.csv, max_length: 64}
training: {epochs: 2}
variants:
  short: {description: "{}, cut early", data: {max_length: 32}}
  plain: {}
  counted: {task: text-baseline, training: null}
"""


def test_a_variant_changes_what_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("family.yaml").write_text(FAMILY)
    short, plain, counted = (load_recipe(f"family/{name}") for name in ("short", "plain", "counted"))
    assert (short.name, short.description) == ("family/short", "Reviews, cut early")
    assert (short.data.path, short.data.max_length, short.training.epochs) == ("reviews.csv", 32, 2)
    assert (plain.name, plain.description, plain.data.max_length) == ("family/plain", "Reviews", 64)
    assert (counted.task, counted.training.epochs) == ("text-baseline", 3), "null takes nothing over"
    assert load_recipe("family.yaml").data == plain.data, "the file's own values"


def test_variants_are_inherited_and_extended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("family.yaml").write_text(FAMILY)
    Path("child.yaml").write_text(
        "base: family.yaml\ndescription: Films\ndata: {max_length: 128}\n"
        "variants: {short: {data: {segments: none}}, own: {seed: 3}}\n"
    )
    short = load_recipe("child/short", ["seed=1"])
    assert (short.description, short.seed) == ("Films, cut early", 1)
    assert (short.data.max_length, short.data.segments) == (32, "none")
    assert (load_recipe("child/own").seed, load_recipe("child/own").data.max_length) == (3, 128)
    Path("grandchild.yaml").write_text("base: child/short\n")
    assert load_recipe("grandchild.yaml").data == short.data
    with pytest.raises(PoNetError, match="There is no recipe 'grandchild/short'"):
        load_recipe("grandchild/short")


SUITE = """
task: text
data: {max_length: 64}
grid: {learning_rate: [1e-3, 1e-4]}
tasks:
  one: {description: One, data: {path: one.csv}}
  two:
    description: Two
    data: {path: two.csv}
    grid: {batch_size: [8, 16]}
    variants: {short: {data: {max_length: 16}, training: {epochs: 2}}, own: {seed: 3}}
variants:
  short: {description: "{}, cut early", data: {max_length: 32}, model: {init: "runs/{variant}/seed0"}}
  plain: {}
"""


def test_tasks_of_a_suite_share_their_variants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("suite.yaml").write_text(SUITE)
    one, two = load_recipe("suite/one/short"), load_recipe("suite/two/short")
    assert (one.name, one.description, one.data.path) == ("suite/one/short", "One, cut early", "one.csv")
    assert one.model["init"] == two.model["init"] == "runs/short/seed0"
    assert (one.data.max_length, two.data.max_length, two.training.epochs) == (32, 16, 2), "the task's own is above all"
    assert (load_recipe("suite/two/plain").data.max_length, load_recipe("suite/two/own").seed) == (64, 3)
    assert read_recipe("suite/one/plain")["grid"] == {"learning_rate": [1e-3, 1e-4]}
    assert list(read_recipe("suite/two/plain")["grid"]) == ["learning_rate", "batch_size"]
    Path("mixed.yaml").write_text(
        "tasks: {lists: {base: lra/listops, data: {segment_num: 7}}}\nvariants: {own: {seed: 3}}"
    )
    lists = load_recipe("mixed/lists/own")
    assert (lists.task, lists.data.segment_num, lists.training.max_steps) == ("lra", 7, 5000)
    assert lists.description == "Long Range Arena, ListOps"
    with pytest.raises(PoNetError, match="There is no recipe"):
        load_recipe("mixed/lists/pooling")
    Path("child.yaml").write_text("base: suite.yaml\ntasks: {three: {data: {path: three.csv}}}\n")
    assert load_recipe("child/three/short").data.max_length == 32
    for name in ("suite/one/own", "suite/one", "suite/three/plain"):
        with pytest.raises(PoNetError, match="There is no recipe"):
            load_recipe(name)


def test_packaged_variants_are_bases_for_own_files(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("base: lra/listops/pooling\ntraining: {max_steps: 7}\n")
    mine, theirs = load_recipe(tmp_path / "mine.yaml"), load_recipe("lra/listops/pooling")
    assert (mine.name, mine.training.max_steps) == ("mine", 7)
    assert (mine.data, mine.model) == (theirs.data, theirs.model)


def test_a_file_can_t_inherit_its_own_variant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("family.yaml").write_text("base: other/short\n" + FAMILY)
    Path("other.yaml").write_text("base: family/short\n")
    for name in ("family/short", "family.yaml", "other.yaml"):
        with pytest.raises(PoNetError, match="inherits from itself"):
            load_recipe(name)


@pytest.mark.parametrize("name", ["lra/listops/base", "transfer/imdb/base", "pretrain/base-shared", "documents/base"])
def test_what_variants_share_has_a_name(name: str) -> None:
    assert read_recipe(name)["task"] in ("lra", "text", "pretraining")
    assert name not in available_recipes()


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(PoNetError, match=r"'documents/imbd/pooling'\. Did you mean 'documents/imdb/pooling'\?"):
        load_recipe("documents/imbd/pooling")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("task: [", "isn't valid YAML (line 1)"),
        ("- a\n- b", "should hold keys and values"),
        ("data: {}", "doesn't name its task"),
        ("task: text\nmodle: {}", "Did you mean 'model'?"),
        ("task: text\ndata: 3", "'data' should hold keys and values"),
        ("task: text\nbase: nowhere/at/all", "There is no recipe 'nowhere/at/all'"),
        ("task: text\nbase: mine.yaml", "inherits from itself"),
        ("task: text\nvariants: [a]", "'variants' should hold keys and values"),
        ("task: text\nvariants: {a: 3}", "'a' should hold keys and values"),
        ("task: text\nvariants: {a: {data: 3}}", "'data' should hold keys and values"),
        ("task: text\ntraining: {learning_rate: high}", "should be a number"),
        ("task: text\ndata: {text: 1}", "'data.text' should be text or null, not the number 1."),
    ],
)
def test_a_recipe_file_that_isn_t_one(text: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(PoNetError) as caught:
        load_recipe(file)
    assert sentence in str(caught.value)
    assert (
        "mine.yaml" in str(caught.value) or "'data.text'" in sentence or "number" in sentence or "nowhere" in sentence
    )


def test_files_that_can_t_be_read(tmp_path: Path) -> None:
    with pytest.raises(PoNetError, match=r"There is no '.*missing.yaml'"):
        load_recipe(tmp_path / "missing.yaml")
    with pytest.raises(PoNetError, match="is a folder"):
        load_recipe(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("task: text # caf\xe9".encode("latin-1"))
    with pytest.raises(PoNetError, match="isn't UTF-8"):
        load_recipe(tmp_path / "latin.yaml")


ENDLESS = {
    "brackets": ("[" * DEEP, "more than 50 values within each other"),
    "braces": ("a: " + "{b: " * DEEP, "more than 50 values within each other"),
    "dashes": ("a: \n  " + "- " * DEEP, "more than 50 values within each other"),
    "keys": ("? " * DEEP, "more than 50 values within each other"),
    "an alias": ("task: text\ndata: &a {path: *a}\n", "an alias: write the value out"),
    "aliases of aliases": (
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(
            f"{two}: &{two} [{', '.join([f'*{one}'] * 9)}]\n" for one, two in zip("abcdefghi", "bcdefghij", strict=True)
        ),
        "an alias: write the value out",
    ),
    "a key twice": ("task: text\ntraining: {epochs: 3, epochs: 4}\n", "(line 2): the key 'epochs' stands twice"),
    "a list for a key": ("task: text\n[a, b]: 3\n", "isn't valid YAML (line 2)"),
    "a number": (f"task: text\nseed: {'9' * 5000}\n", "isn't valid YAML"),
    "steps": ("task: text\ntraining: {max_steps: 1e30}\n", "'training.max_steps' should be"),
    "itself": ("base: ../recipes/itself.yaml\n", "inherits from itself"),
    "the Trainer's": ("task: text\ntraining:\n  num_train_epochs: 3\n", "It is training.epochs here"),
    "the Trainer's at the top": ("task: text\nnum_train_epochs: 3\n", "It is training.epochs here"),
    "the Trainer's in the data": ("task: text\ndata: {max_seq_length: 3}\n", "It is data.max_length here"),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_recipe_without_end(tmp_path: Path, name: str) -> None:
    text, sentence = ENDLESS[name]
    path = tmp_path / "recipes" / f"{name}.yaml"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(PoNetError) as caught:
        load_recipe(path)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
