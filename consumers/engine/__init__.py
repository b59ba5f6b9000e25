"""One message from delivery to ack: the engine, its outcomes and effects, and its policies."""
