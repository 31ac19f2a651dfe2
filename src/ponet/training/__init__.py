"""The engine: a recipe becomes a run folder, on the Hugging Face Trainer."""
