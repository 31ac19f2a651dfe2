"""From a recipe to a run folder: `run.train` prepares and finishes, `loop.TrainingLoop` trains."""
