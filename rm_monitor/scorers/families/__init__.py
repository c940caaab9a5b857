"""One published kind of reward model a file: head, input format, and ``build(checkpoint, options)``."""
