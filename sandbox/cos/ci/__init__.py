"""The picture service CI and the content audit of the COS stand-in."""
