"""Checks of a folder of images before training, and remarks on a result."""
