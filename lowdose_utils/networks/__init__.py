"""Networks that denoise or enhance images."""
