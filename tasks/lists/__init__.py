"""Read models of many tasks: lists, states, statistics, backlogs and processes, for the HTTP API and for operators."""
