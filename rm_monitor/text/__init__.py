"""Text made inert: what a model or a file wrote cannot act on a terminal, a page, a log or a table."""
