"""`scf-workers submit`: through the HTTP API (`api`), or with the keys of a deployment (`direct`)."""
