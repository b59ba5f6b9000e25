"""Files of vendors: their types, and what they lose before they are shown."""
