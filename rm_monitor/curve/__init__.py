"""From a table of scores to a point, from points to a curve."""
