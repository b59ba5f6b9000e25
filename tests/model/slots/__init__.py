"""The model of a run with several slots."""
