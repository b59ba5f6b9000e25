"""Kinds of work as data: one small declarative module for each kind, and one table. Pure."""
