"""Classification and regression on one's own documents: the task `text`, and its baseline `text-baseline`."""
