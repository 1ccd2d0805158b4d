"""Interactive panels, one file each, and the code that serves them."""
