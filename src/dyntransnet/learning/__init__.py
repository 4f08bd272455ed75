"""What training is made of; the loop itself is in ``stages.train``."""
