"""Many rows in one forward of a model that knows nothing of it: what answering and scoring share."""
