"""Everything that is to be known of the engine on a GPU, by one command: `python3 -m gpu` with bench on the path."""
