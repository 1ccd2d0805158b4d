"""The interface to the machine: files, folders, seeds, the cache on disk, precision, device."""
