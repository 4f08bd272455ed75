"""What can run a network; each is the same callable, windows to logits."""
