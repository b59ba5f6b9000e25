"""The end of a run: the verdict, bringing it to the backend, cancelling."""
