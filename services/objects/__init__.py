"""The object store: the port, the store in memory, and the one on COS with its picture service and content audit."""
