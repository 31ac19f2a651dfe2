"""GLUE's training sentences as short texts, without labels and without any sentence of a validation or test split.

    python results/distillation/short_texts.py DATA_FOLDER/glue short.jsonl
"""

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq

TASKS = ("cola", "sst2", "mrpc", "stsb", "qqp", "qnli", "rte", "wnli")
COLUMNS = ("sentence", "sentence1", "sentence2", "question", "question1", "question2")


def texts(path: Path) -> list[str]:
    table = pq.read_table(path)
    return [text for name in COLUMNS if name in table.column_names for text in table[name].to_pylist() if text]


def same(text: str) -> str:
    return " ".join(text.lower().split())


def main(folder: str, out: str) -> None:
    files = [path for task in TASKS for path in sorted((Path(folder) / task).glob("*.parquet"))]
    held_out = {same(text) for path in files if not path.name.startswith("train") for text in texts(path)}
    seen, written, dropped = set(), 0, 0
    with open(out, "w", encoding="utf-8") as file:
        for path in files:
            if not path.name.startswith("train"):
                continue
            for text in texts(path):
                key = same(text)
                dropped += key in held_out
                if key in held_out or key in seen:
                    continue
                seen.add(key)
                written += 1
                file.write(json.dumps({"text": text}) + "\n")
    print(f"{written:,} texts written; {dropped:,} left out, which a validation or test split has too.")


if __name__ == "__main__":
    main(*sys.argv[1:])
