"""The evaluation as one page that a browser opens, from a file and without a network."""
