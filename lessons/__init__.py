"""The lessons: notebooks that build the network from a pixel to an age and back, by hand."""
