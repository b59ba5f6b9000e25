"""The engine: a message from delivery to ack, with its outcomes, effects and policies."""
