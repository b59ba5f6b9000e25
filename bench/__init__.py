"""Measurements: each compares with the limit in the same run, and prints ratios with their spread."""
