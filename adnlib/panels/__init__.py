"""Interactive panels, a file each, and what serves them."""
