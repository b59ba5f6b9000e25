"""The command `scf-workers erase`: erasure of one user's data."""
