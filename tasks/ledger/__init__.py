"""State without a database: the records of a run, and the one class that writes and reads them."""
