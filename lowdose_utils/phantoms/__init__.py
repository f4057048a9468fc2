"""Phantoms: volumes and slices whose truth is known."""
