"""Articles made of sentences about few things, a topic a section."""

import json
import random

import pytest

TOPICS = {
    "Rivers": "The water of the river flows under the bridge in spring",
    "Music": "The singer sang an old song with the orchestra at night",
    "Trains": "The engine pulled the heavy train along the new railway",
    "Food": "The cook made soup and bread in the kitchen every day",
}


def article(number: int) -> str:
    generator = random.Random(number)
    names = generator.sample(sorted(TOPICS), 3)
    lines = [f"Article {number}", "", " ".join(f"{TOPICS[name]} of year {number}." for name in names for _ in range(2))]
    for name in names:
        lines += [f"{name}.", " ".join(f"{TOPICS[name]} of {generator.randint(1, 99)}." for _ in range(5))]
    return "\n".join(lines)


@pytest.fixture(scope="session")
def articles(tmp_path_factory):
    """A folder with a train and a validation split."""
    folder = tmp_path_factory.mktemp("articles")
    for split, numbers in (("train", range(30)), ("validation", range(30, 36))):
        rows = [json.dumps({"text": article(number)}) for number in numbers] + [
            json.dumps({"text": "Stub\n\nNothing."})
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(rows) + "\n")
    return folder
