"""Passes: a Program in, a Program out that computes the same with other lines."""
