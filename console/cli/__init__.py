"""The command line `scf-workers`."""
