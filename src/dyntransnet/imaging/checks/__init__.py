"""Rules that scans, masks and whole datasets must keep; ``problems.RULES`` lists them all."""
