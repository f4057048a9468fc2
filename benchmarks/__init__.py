"""Side-by-side speed and accuracy against peers."""
