"""Files of vendors: their types, and the removal of metadata before they are shown."""
