"""What a model's tokens heard, and what its answer rests on: the pooling lens."""
