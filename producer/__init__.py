"""Ways in: each turns something that happened outside into records and messages."""
