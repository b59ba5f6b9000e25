"""The vendor port, and a folder for each vendor: client, answers, codes."""
