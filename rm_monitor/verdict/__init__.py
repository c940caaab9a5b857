"""What a curve says: degraded or not, and what is seen beside its headline."""
