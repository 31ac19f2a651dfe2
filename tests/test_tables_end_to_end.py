"""Tables from the command's side: what is trained, predicted and measured is what the file holds."""

import csv
import gzip
import json
import random
import zipfile
from pathlib import Path
from typing import Any

import datasets
import pytest
from click.testing import Result
from typer.testing import CliRunner

from ponet.cli.app import app
from ponet.cli.errors import MISTAKE

SMALL = ["hidden_size=32", "model.intermediate_size=32", "num_hidden_layers=1", "data.vocab_size=150", "max_steps=2"]
WORDS = {"ham": "bad cold poor dull awful", "spam": "good warm great fine superb"}
Rows = list[dict[str, Any]]


def ponet(*arguments: Any) -> Result:
    """Runs a command; anything but an exit is an error of the test."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def refused(*arguments: Any) -> str:
    """The one sentence of a command that writes nothing to stdout."""
    result = ponet(*arguments)
    assert (result.exit_code, result.stdout) == (MISTAKE, ""), result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr.strip().splitlines()[-1]


def reviews(count: int = 80, seed: int = 0) -> Rows:
    draw = random.Random(seed)
    rows = []
    for index in range(count):
        name = ("ham", "spam")[index % 2]
        words = draw.choices([*WORDS[name].split(), "the", "film", "was"], k=12)
        rows.append({"text": f"{' '.join(words)} {seed} {index}.", "label": name})
    return rows


def write(path: Path, rows: Rows) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `reviews.csv` and a complete run in `runs/reviews`, trained on it by a relative name."""
    home = tmp_path_factory.mktemp("tables")
    write(home / "reviews.csv", reviews())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        made = ponet(
            "finetune", "--model", "none", "reviews.csv", "--out", "runs/reviews", "test_fraction=0.25", *SMALL
        )
        assert made.exit_code == 0, made.stderr
    return home


def count(home: Path, source: Any) -> int:
    result = ponet("predict", home / "runs" / "reviews", source)
    assert result.exit_code == 0, result.stderr
    return len(result.stdout.splitlines())


@pytest.mark.parametrize("opened", [(20,), (20, 60), (0, 79)])
def test_a_record_for_each_row_whatever_the_quotes(home: Path, tmp_path: Path, opened: tuple[int, ...]) -> None:
    lines = [f"{row['label']},{row['text']}" for row in reviews()]
    for row in opened:
        lines[row] = lines[row].replace(",", ',"', 1)
    (tmp_path / "stray.csv").write_text("\n".join(["label,text", *lines]) + "\n")
    assert count(home, tmp_path / "stray.csv") == 80


def test_a_record_for_each_row_of_every_form(home: Path, tmp_path: Path) -> None:
    content = (home / "reviews.csv").read_bytes()
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(content))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.csv", content)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"one\n\ntwo\n"))
    data = datasets.Dataset.from_list(reviews())
    data.save_to_disk(tmp_path / "saved")
    datasets.DatasetDict({"train": data, "test": data.select(range(5))}).save_to_disk(tmp_path / "saved_dict")
    for name in ("a.csv.gz", "a.zip", "saved"):
        assert count(home, tmp_path / name) == 80
    assert count(home, tmp_path / "saved_dict" / "test") == 5
    assert count(home, tmp_path / "a.txt.gz") == 3
    assert "has the splits train, test" in refused("predict", home / "runs" / "reviews", tmp_path / "saved_dict")


def test_a_saved_data_set_is_trained_on(tmp_path: Path) -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    rows = [{"text": row["text"], "label": int(row["label"] == "spam")} for row in reviews()]
    data = datasets.Dataset.from_list(rows, features=features)
    datasets.DatasetDict({"train": data, "test": data.select(range(6)), "unsup": data}).save_to_disk(tmp_path / "saved")
    assert ponet("finetune", "--model", "none", tmp_path / "saved", "--out", tmp_path / "run", *SMALL).exit_code == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert set(result["data"]["classes"]) == {"no", "yes"}
    assert result["data"]["splits"]["test"]["rows"] == 6
    made = ponet("tokenizer", "train", tmp_path / "saved", "--vocab-size", 80, "--out", tmp_path / "tokenizer")
    assert made.exit_code == 0, made.stderr
    made = ponet(
        "pretrain", "prepare", tmp_path / "saved", "--tokenizer", tmp_path / "tokenizer", "--out", tmp_path / "tokens"
    )
    assert made.exit_code == 0, made.stderr


def test_a_run_finds_its_data_wherever_one_stands(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = home / "runs" / "reviews"
    monkeypatch.chdir(home)
    here = json.loads(ponet("evaluate", "runs/reviews").stdout)
    assert here["examples"] == 20
    write(tmp_path / "reviews.csv", reviews(seed=1))
    monkeypatch.chdir(tmp_path)  # a file of that name, with other rows
    assert json.loads(ponet("evaluate", run).stdout)["metrics"] == here["metrics"]
    (home / "reviews.csv").rename(home / "moved.csv")
    try:
        assert "doesn't hold what this run was trained on" in refused("evaluate", run)
        (tmp_path / "reviews.csv").write_bytes((home / "moved.csv").read_bytes())
        assert json.loads(ponet("evaluate", run).stdout)["metrics"] == here["metrics"]  # the same rows elsewhere
        (tmp_path / "reviews.csv").unlink()
        assert "There is no" in refused("evaluate", run)
    finally:
        (home / "moved.csv").rename(home / "reviews.csv")


@pytest.mark.parametrize("change", ["grown", "shrunk", "relabelled", "another text"])
def test_changed_data_is_refused_and_measured_on_purpose(
    home: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.chdir(home)
    rows = reviews()
    if change == "grown":
        rows += reviews(40, seed=2)
    elif change == "shrunk":
        rows = rows[:-2]
    elif change == "relabelled":
        rows[0]["label"], rows[1]["label"] = rows[1]["label"], rows[0]["label"]
    else:
        rows[5]["text"] += " more"
    original = (home / "reviews.csv").read_bytes()
    write(home / "reviews.csv", rows)
    try:
        assert "measure on this on purpose with --data" in refused("evaluate", "runs/reviews")
        measured = ponet("evaluate", "runs/reviews", "--data", "reviews.csv")
    finally:
        (home / "reviews.csv").write_bytes(original)
    assert measured.exit_code == 0, measured.stderr
    assert json.loads(measured.stdout)["data"] == "reviews.csv"
    assert json.loads(measured.stdout)["examples"] == len(rows)
    assert "This is other data than the run's own" in measured.stderr


def test_the_run_s_own_data_named_on_purpose_is_said(home: Path, tmp_path: Path) -> None:
    (tmp_path / "copy.csv").write_bytes((home / "reviews.csv").read_bytes())
    said = ponet("evaluate", home / "runs" / "reviews", "--data", tmp_path / "copy.csv").stderr
    assert "This is the data that the run was trained on" in said
    write(tmp_path / "grown.csv", [*reviews(), *reviews(20, seed=3)])
    said = ponet("evaluate", home / "runs" / "reviews", "--data", tmp_path / "grown.csv").stderr
    assert "of its 100 rows occur word for word in the run's training rows" in said


def test_rows_that_are_not_scored_are_left_out_of_the_figures(tmp_path: Path) -> None:
    rows: Rows = []
    for index, row in enumerate(reviews()):
        rows.append({"comment_text": row["text"], "toxic": index % 2, "insult": index // 2 % 2})
    write(tmp_path / "train.csv", rows)
    ponet(
        "finetune",
        "--model",
        "none",
        tmp_path / "train.csv",
        "--label",
        "toxic,insult",
        "--out",
        tmp_path / "run",
        *SMALL,
    )
    for row in rows[::3]:
        row["toxic"] = row["insult"] = -1
    rows[1]["toxic"] = ""
    write(tmp_path / "test_labels.csv", rows)
    measured = ponet("evaluate", tmp_path / "run", "--data", tmp_path / "test_labels.csv")
    assert json.loads(measured.stdout)["examples"] == 52
    assert "28 of 80 test rows (35.0%) have no label" in measured.stderr


def test_a_long_text_goes_through_the_pipeline(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As README and the model card write it."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    run = str(home / "runs" / "reviews")
    long = "the film was good " * 2250  # over 9,000 tokens, for 2,048 positions
    pipe = pipeline("text-classification", model=run)
    said = pipe([long, "the film was good", long])
    assert [one["label"] in ("ham", "spam") for one in said] == [True] * 3
    assert said[0] == said[2]
    assert caplog.text.count("was truncated at its end") == 1
    tokenizer = AutoTokenizer.from_pretrained(run)
    assert len(tokenizer(long, truncation=False, verbose=False)["input_ids"]) > 9000
    assert len(tokenizer(long)["input_ids"]) == 2048
    assert len(tokenizer(long, max_length=3000, truncation=True)["input_ids"]) == 3000
    batch = tokenizer([long, "short"], padding=True, return_tensors="pt")
    assert AutoModelForSequenceClassification.from_pretrained(run)(**batch).logits.shape == (2, 2)
