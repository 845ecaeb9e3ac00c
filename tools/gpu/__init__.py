"""Programs for the development of the GPU's side."""
