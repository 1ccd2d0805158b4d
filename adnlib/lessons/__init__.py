"""Exercises that check themselves: one file for each lesson, with every exercise's solution beside its check."""
