"""Faults on purpose: what the machine, the disk, the network, the models and other people can do to a run.

`make faults` (``python -m tests.faults [name ...]``) runs the long campaigns and prints the table; the fast
part of each runs in `make test`, from the ``test_*.py`` beside it.
"""
