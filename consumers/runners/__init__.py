"""The three ways to run the engine (pump, drain, push), and how they divide permits and time."""
