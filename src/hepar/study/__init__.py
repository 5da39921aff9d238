"""Studies: many trainings under one protocol, and their tables."""
