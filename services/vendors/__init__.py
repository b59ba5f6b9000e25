"""One module a vendor, each a client of the port in `port`; what outsiders write is read in its `_…_answers`."""
