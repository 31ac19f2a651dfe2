"""Figures of the paper (arXiv 2110.02442) that stand beside measured ones."""

PRETRAINED_BASE_F1 = {"hnd": 0.962, "imdb": 0.930}
"""Binary F1 of PoNet-Base (12 layers, d 768, pre-trained, length 4096): the paper's table of long-document tasks."""
