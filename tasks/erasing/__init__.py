"""Erasure of one user's data: objects are deleted, records keep their ids without content."""
