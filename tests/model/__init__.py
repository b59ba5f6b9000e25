"""An explicit-state model of the ledger's rules: one run, several workers, and every fault at every step."""
