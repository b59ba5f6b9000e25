"""The stages: async functions from a message (and its task) to an outcome; `table` lists them."""
