"""The work: the engine that runs a message, the stages, and the runners that divide permits and time."""
