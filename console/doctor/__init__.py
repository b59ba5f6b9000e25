"""The doctor: checks of a deployment, each with its remedy."""
