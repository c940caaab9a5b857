"""What is being trained, and how it is left as it was found."""
