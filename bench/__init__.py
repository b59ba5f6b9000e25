"""Benchmarks: each measures the product and its limit in the same run, and prints ratios with their spread."""
