"""Many trainings as one study: who did better, on whom, and how sure one may be."""
