"""A training run that goes wrong on purpose, small enough for a minute of CPU: ``rm-monitor demo``."""
