"""What outlives the process: the curve of a run, and the scores shared by all runs."""
