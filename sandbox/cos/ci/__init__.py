"""Picture service CI and content audit of the COS stand-in."""
