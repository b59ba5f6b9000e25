"""Child processes of the command line (workers and handlers), and lock files."""
