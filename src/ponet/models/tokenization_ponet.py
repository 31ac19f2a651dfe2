"""BERT's WordPiece tokenizer, which also says which sentence each token belongs to."""

from transformers import BertTokenizer


class PoNetTokenizer(BertTokenizer):
    """In progress."""
