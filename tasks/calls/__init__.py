"""Paid calls of a run: whether one may be made, looking at jobs, webhook paths and hints."""
