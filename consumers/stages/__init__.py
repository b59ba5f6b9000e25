"""What each stage does: async functions `(message, task, the services) -> outcome`."""
