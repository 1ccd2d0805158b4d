"""What the library needs of the machine: files, folders, seeds, the cache, precision, the device."""
