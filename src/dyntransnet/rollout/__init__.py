"""A model on its way to a running server, and back."""
