"""What every test may lean on: no network, few threads, the same random numbers, real data where it is there."""

import os
from collections.abc import Iterator
from pathlib import Path

# before transformers or datasets are imported: a test that would download something must fail, not wait
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "Agg"

import hypothesis
import numpy as np
import pytest
import torch

from ponet.utils.files import data_folder

hypothesis.settings.register_profile("ponet", deadline=None)  # a busy machine isn't a fault
hypothesis.settings.load_profile("ponet")


@pytest.fixture(scope="session", autouse=True)
def _threads() -> None:
    """One thread a worker: the tensors are small, and the suite already runs one worker a core."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Every test starts from the same random state, in whatever order or on whichever worker it runs."""
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture(scope="session", autouse=True)
def _float32() -> Iterator[None]:
    """`auto` is float32 on every machine; test_precision.py tests the choice."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("ponet.utils.precision.cpu_computes_bf16", lambda: False)
        yield


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data sets; a test that asks for it skips where there is none."""
    folder = data_folder()
    if folder is None or not folder.is_dir():
        pytest.skip("no real data here: set PONET_DATA to the folder of data sets")
    return folder.resolve()


@pytest.fixture(scope="session")
def sentence_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small untrained model that scores sentences, whose scores are far apart."""
    from ponet import PoNetConfig, PoNetForSentenceScoring, checkpoint
    from ponet.tasks.models import open_tokenizer

    torch.manual_seed(0)
    tokenizer = open_tokenizer(checkpoint("ponet-tiny"))
    config = PoNetConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        cls_token_id=tokenizer.cls_token_id,
        sep_token_id=tokenizer.sep_token_id,
        sentence_hidden_size=8,
        initializer_range=0.5,
    )
    model = PoNetForSentenceScoring(config)
    with torch.no_grad():
        model.scorer.out_proj.weight.mul_(2)
    folder = tmp_path_factory.mktemp("sentence-model")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def classifier_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run folder with a small untrained classifier of `neg` and `pos`, whose scores are far apart."""
    from ponet import PoNetConfig, PoNetForSequenceClassification, checkpoint
    from ponet.config.recipe import load_recipe
    from ponet.tasks.models import open_tokenizer

    torch.manual_seed(0)
    tokenizer = open_tokenizer(checkpoint("ponet-tiny"))
    config = PoNetConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=2048,
        cls_token_id=tokenizer.cls_token_id,
        sep_token_id=tokenizer.sep_token_id,
        initializer_range=0.3,
        id2label={0: "neg", 1: "pos"},
        label2id={"neg": 0, "pos": 1},
        problem_type="single_label_classification",
    )
    folder = tmp_path_factory.mktemp("classifier") / "run"
    PoNetForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "recipe.yaml").write_text(load_recipe("finetune/base").to_yaml(), encoding="utf-8")
    (folder / "result.json").write_text('{"train": {}}', encoding="utf-8")
    return folder
