"""A model over documents of any number: read, tokenized, computed and written in order, and taken up after a stop."""
