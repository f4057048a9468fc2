"""From a volume of nerve tissue to its cells: affinities, supervoxels, neurons, their branches."""
