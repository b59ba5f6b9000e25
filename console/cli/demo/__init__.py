"""`scf-workers demo`: the full pipeline on one machine, with injected faults, and its report."""
