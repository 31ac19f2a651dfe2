"""What a run's model finds for each document of a source."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ponet.inference.documents import annotated, records
from ponet.tasks.text.task import TextTask


def answers(run: Path, recipe: Any, source: str, batch_tokens: int = 1000, **options: Any) -> Iterator[dict[str, Any]]:
    """A record a document, as it comes; options are those of `Predictor.source`."""
    predictor = TextTask().predictor(run, recipe, batch_tokens=batch_tokens)
    for result in annotated(predictor, predictor.source(source, **options).open()):
        yield from records(result.table)
