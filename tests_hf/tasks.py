"""What each pipeline must answer: `PipelineTesterMixin` makes the models, calls these, and then runs batches."""

from typing import ClassVar

import pytest
import torch
from transformers import Pipeline, PreTrainedModel, pipeline

from ponet import PoNetTokenizer

TEXTS = ["He lived in Paris. Why? Nobody knows!", "One sentence without an end"]


class Task:
    name: str
    examples: ClassVar = TEXTS

    def get_test_pipeline(
        self, model: PreTrainedModel, tokenizer: PoNetTokenizer, dtype: str, **_: object
    ) -> tuple[Pipeline, list[str]]:
        torch.manual_seed(0)
        return pipeline(self.name, model=model.to(getattr(torch, dtype)), tokenizer=tokenizer), self.examples

    def outputs(self, pipe: Pipeline, *texts: str):
        """What the model says to this tokenizer's encoding of one text, or of a pair."""
        with torch.no_grad():
            return pipe.model(**pipe.tokenizer(*texts, return_tensors="pt"))

    def close(self, pipe: Pipeline, found: object, wanted: torch.Tensor) -> None:
        half = pipe.model.dtype == torch.float16
        torch.testing.assert_close(
            torch.as_tensor(found).float(), wanted.float(), rtol=1e-2 if half else 1e-4, atol=1e-2 if half else 1e-5
        )


class FeatureExtraction(Task):
    name = "feature-extraction"

    def run_pipeline_test(self, pipe: Pipeline, examples: list[str]) -> None:
        single = [pipe(text) for text in examples]
        for found, batched, text in zip(single, pipe(examples, batch_size=2), examples, strict=True):
            wanted = self.outputs(pipe, text).last_hidden_state
            self.close(pipe, found, wanted)
            self.close(pipe, [batched[0][: wanted.shape[1]]], wanted)  # what follows is padding
            self.close(pipe, pipe(text, return_tensors=True), wanted)
        assert len(pipe(examples[0] * 100, tokenize_kwargs={"truncation": True, "max_length": 12})[0]) == 12


class FillMask(Task):
    name = "fill-mask"
    examples: ClassVar = ["He [MASK] in Paris. Why? Nobody knows!", "One sentence without a [MASK]"]

    def run_pipeline_test(self, pipe: Pipeline, examples: list[str]) -> None:
        tokenizer = pipe.tokenizer
        for text, found in zip(examples, pipe(examples, top_k=7, batch_size=2), strict=True):
            place = tokenizer(text)["input_ids"].index(tokenizer.mask_token_id)
            likely = self.outputs(pipe, text).logits[0, place].float().softmax(-1)
            self.close(pipe, [row["score"] for row in found], likely.topk(7).values)
            self.close(pipe, likely[[row["token"] for row in found]], likely.topk(7).values)
            for row in found:
                assert row["token_str"] == tokenizer.decode([row["token"]])
                assert "mask" not in row["sequence"].lower()
        assert {row["token_str"] for row in pipe(examples[0], targets=["lived", "died"])} == {"lived", "died"}
        assert [len(rows) for rows in pipe("[MASK] and [MASK]", top_k=3)] == [3, 3]
        with pytest.raises(Exception, match="No mask_token"):
            pipe("nothing to fill")


class TextClassification(Task):
    name = "text-classification"

    def run_pipeline_test(self, pipe: Pipeline, examples: list[str]) -> None:
        labels = set(pipe.model.config.id2label.values())
        for text, found in zip(examples, pipe(examples, top_k=None, batch_size=2), strict=True):
            assert {row["label"] for row in found} == labels
            self.close(pipe, [row["score"] for row in found], self.scores(pipe, text).sort(descending=True).values)
            assert pipe(text)[0]["label"] == found[0]["label"]
        pair = {"text": examples[0], "text_pair": examples[1]}
        self.close(pipe, pipe(pair)["score"], self.scores(pipe, *examples).max())

    def scores(self, pipe: Pipeline, *texts: str) -> torch.Tensor:
        return self.outputs(pipe, *texts).logits[0].float().softmax(-1)


class TokenClassification(Task):
    name = "token-classification"

    def run_pipeline_test(self, pipe: Pipeline, examples: list[str]) -> None:
        for text, found in zip(examples, pipe(examples, ignore_labels=[], batch_size=2), strict=True):
            wanted = self.outputs(pipe, text).logits[0].float().softmax(-1).amax(-1)[1:-1]
            self.close(pipe, [row["score"] for row in found], wanted)
            for strategy in ("simple", "first", "average", "max"):
                groups = pipe(text, ignore_labels=[], aggregation_strategy=strategy)
                ends = [group[end] for group in groups for end in ("start", "end")]
                assert ends == sorted(ends)
                assert (ends[0], ends[-1]) == (0, len(text))


class ZeroShot(Task):
    name = "zero-shot-classification"

    def run_pipeline_test(self, pipe: Pipeline, examples: list[str]) -> None:
        subjects = ["politics", "health", "travel"]
        for text, found in zip(examples, pipe(examples, subjects, batch_size=2), strict=True):
            logits = {name: self.outputs(pipe, text, f"This example is {name}.").logits[0].float() for name in subjects}
            entails = torch.stack([logits[name] for name in found["labels"]])[:, pipe.entailment_id]
            assert sorted(found["labels"]) == sorted(subjects)
            assert found["scores"] == sorted(found["scores"], reverse=True)
            self.close(pipe, found["scores"], entails.softmax(-1))
        assert pipe(examples[0], "health, travel", multi_label=True)["sequence"] == examples[0]
        with pytest.raises(ValueError, match="at least one label"):
            pipe(examples[0], [])

    def get_test_pipeline(self, model, tokenizer, **arguments):
        pipe, texts = super().get_test_pipeline(model, tokenizer, **arguments)
        pipe._preprocess_params["candidate_labels"] = ["politics", "health"]  # for the mixin's own batches
        return pipe, texts
