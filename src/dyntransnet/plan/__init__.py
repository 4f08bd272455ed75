"""From a dataset's fingerprint and a memory budget to settings, each with its reason."""
