"""The twins of fastnn.functional for arrays on a GPU."""
