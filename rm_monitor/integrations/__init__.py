"""Hosts of training: one file a host, imported by nobody else, loading its host when it is used.

A host that takes a `transformers.TrainerCallback` needs no file here. These are for hosts that build their
trainer out of the user's reach, from a YAML file or a command line.
"""
