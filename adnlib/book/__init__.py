"""Executing the notebooks, and the report made of them."""
