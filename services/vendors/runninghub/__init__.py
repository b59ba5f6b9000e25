"""RunningHub: client, answers and codes of both generations of its interface."""
