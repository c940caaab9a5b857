"""Empty: it has no build for the torch of this test, and only sound needs it."""
