"""The stages: async functions from a message, and where they need it its task, to an outcome; `table` lists them."""
