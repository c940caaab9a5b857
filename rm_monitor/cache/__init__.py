"""Scores that are kept: between evaluations, runs and machines."""
