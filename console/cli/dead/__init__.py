"""`scf-workers dead`: dead letters for an operator."""
