"""What a kind of work is: one small declarative module a kind, one table. Pure."""
