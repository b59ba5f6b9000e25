"""The life of a task, from `accepted` to `delivered`: every way in, every stage and every screen works through it."""
