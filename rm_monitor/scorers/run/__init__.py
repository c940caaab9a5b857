"""Token ids -> numbers: networks loaded and frozen, batches, the tokens that are read, both scorers."""
