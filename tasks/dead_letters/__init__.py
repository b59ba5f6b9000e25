"""Dead letters: list, group, show, replay, purge; by the ledger alone, so the same on every broker."""
