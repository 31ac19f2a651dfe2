"""Names that people write for a key of ours, and the key that they mean."""

from collections.abc import Iterable

from ponet.utils.errors import suggest

TRAINER_NAMES = {
    "num_train_epochs": "training.epochs",
    "num_epochs": "training.epochs",
    "lr": "training.learning_rate",
    "lr_scheduler_type": "training.schedule",
    "warmup_ratio": "training.warmup",
    "warmup_steps": "training.warmup",
    "per_device_train_batch_size": "training.batch_size",
    "per_device_eval_batch_size": "training.batch_size",
    "gradient_accumulation_steps": "training.gradient_accumulation",
    "eval_steps": "training.eval_every",
    "eval_strategy": "training.eval_every",
    "evaluation_strategy": "training.eval_every",
    "logging_steps": "training.log_every",
    "save_steps": "training.checkpoint_every",
    "save_strategy": "training.checkpoint_every",
    "save_total_limit": "training.keep_checkpoints",
    "metric_for_best_model": "training.metric",
    "early_stopping_patience": "training.patience",
    "adam_epsilon": "training.adam_eps",
    "bf16": "training.precision",
    "fp16": "training.precision",
    "fsdp": "training.sharded",
    "torch_compile": "training.compile",
    "dataloader_num_workers": "training.workers",
    "dataloader_drop_last": "training.drop_last",
    "max_seq_length": "data.max_length",
    "max_seq_len": "data.max_length",
    "model_max_length": "data.max_length",
    "tokenizer_name": "data.tokenizer",
    "train_file": "data.path",
    "dataset_name": "data.path",
    "text_column_name": "data.text",
    "label_column_name": "data.label",
    "mlm_probability": "data.mlm_rate",
    "model_name_or_path": "model.init",
    "model_name": "model.init",
    "data_seed": "seed",
    "output_dir": "--out",
    "overwrite_output_dir": "--overwrite",
}
"""What Hugging Face's Trainer and its example scripts call our keys and options."""


def nearest(key: str, known: Iterable[str]) -> str:
    """As `suggest`, for the Trainer's names too."""
    theirs = key.rpartition(".")[2]
    return f" It is {TRAINER_NAMES[theirs]} here." if theirs in TRAINER_NAMES else suggest(key, known)
