"""Who exchanges how much with whom, as a graph that fits a page."""
