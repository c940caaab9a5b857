"""A run on disk: its curve, the rows behind each point, its texts, its verdict."""
