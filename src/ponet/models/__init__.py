"""PoNet as a Hugging Face model family: configuration, models, tokenizer."""
