"""Arrays in the memory of a GPU, and the twins of fastnn._core."""
