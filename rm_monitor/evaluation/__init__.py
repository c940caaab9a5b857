"""One evaluation: every rank answers its share, rank 0 scores, a table comes out."""
