"""The work: the engine that runs one message, the pure decisions, and the stages."""
