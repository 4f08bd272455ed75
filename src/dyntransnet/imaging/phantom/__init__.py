"""Synthetic abdominal CT with known masks: recipes, anatomy, and how it is scanned."""
