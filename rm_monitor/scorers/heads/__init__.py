"""What the heads of several families are made of: layers, labels, gates, rows of the vocabulary."""
