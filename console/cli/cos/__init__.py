"""The commands `scf-workers cos …`: rules of the buckets."""
