"""Commands for operators: tasks, topics, statistics and workers, as tables for people and as documents for programs."""
