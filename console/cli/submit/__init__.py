"""`scf-workers submit`: with the keys of a deployment (`direct`), or through the HTTP API (`api`)."""
