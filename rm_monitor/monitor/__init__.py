"""The one stateful object, its settings, and the Trainer's events."""
