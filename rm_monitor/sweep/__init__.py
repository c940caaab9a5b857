"""Judging checkpoints that lie on disk: once (`sweep`), or while a job writes them (`watch`)."""
