"""Distillation: a BERT encoder taught to a student with other token mixers (`ponet distil`)."""
