"""Checkpoints on disk: which are whole, which is the best, and that it stays.

`disk` tells a whole one from a half-written one, `initial` finds the one that training began with,
`selection` elects the best, `keeper` links it where no rotation deletes it.
"""
