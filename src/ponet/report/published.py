"""Figures of the paper (arXiv 2110.02442) that stand beside measured ones."""

PRETRAINED_BASE_F1 = {"hnd": 0.962, "imdb": 0.930, "yelp5": 0.6913, "arxiv11": 0.8611}
"""F1 of PoNet-Base (12 layers, d 768, pre-trained, length 4096), binary for HND and IMDb, micro for the other two: the
paper's table of long-document tasks."""

GLUE_PONET = {
    "mnli-m": 76.99,
    "mnli-mm": 77.21,
    "qqp": 87.55,
    "qnli": 84.33,
    "sst2": 89.22,
    "cola": 45.36,
    "stsb": 84.57,
    "mrpc": 81.76,
    "rte": 64.26,
}
"""PoNet-Base on GLUE's validation sets, in percent."""
GLUE_AVERAGE = {"ponet": 76.80, "bert": 80.21}
"""Of PoNet-Base (of the figures above) and BERT-Base; PoNet's is 4.5 % above FNet's, relative."""

LRA_TASKS = ("listops", "text", "retrieval", "image", "pathfinder")
LRA: dict[str, tuple[float | None, ...]] = {
    "Transformer": (37.10, 65.02, 79.35, 38.20, 74.16, 58.77),
    "Performer": (18.80, 63.81, 78.62, 37.07, 69.87, 53.63),
    "Reformer": (19.05, 64.88, 78.64, 43.29, 69.36, 55.04),
    "Linformer": (37.25, 55.91, 79.37, 37.84, 67.60, 55.59),
    "Nystromformer": (37.15, 65.52, 79.56, 41.58, 70.94, 58.95),
    "FNet": (37.40, 62.52, 76.94, 35.55, None, 53.10),
    "PoNet": (37.80, 69.82, 80.35, 46.88, 70.39, 61.05),
}
"""Accuracy in percent on `LRA_TASKS`, and their mean: the paper's table 1. FNet failed on Pathfinder; its mean is over
four."""

LRA_BEYOND: dict[str, tuple[float | None, ...]] = {
    "Luna-256": (37.98, 65.78, 79.56, 47.86, 78.55, 61.95),
    "S4-v2": (59.60, 86.82, 90.90, 88.65, 94.20, 84.03),
    "S5": (62.15, 89.31, 91.40, 88.00, 95.33, 85.24),
    "Mega": (63.14, 90.43, 91.25, 90.44, 96.01, 86.25),
}
"""The same for models outside the paper's table, as their authors give it."""

LRA_TRAINING_STEP = {"Transformer": (1.8, 23.8), "PoNet": (16.2, 2.4)}
"""Steps a second and peak memory in GB of a training step on Text at 4,096 tokens, on a GPU: the paper's table 2."""
