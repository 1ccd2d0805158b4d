"""Images on disk: reading, folder layouts, the registry, downloads, archives, the rendered data set."""
