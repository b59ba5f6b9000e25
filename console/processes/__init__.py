"""Child processes of the command line: workers and handlers, and files that one process owns."""
