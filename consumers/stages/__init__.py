"""What each stage does: async functions `(message, task, everything outside) -> outcome`."""
