"""Small heads trained on WordNet's text with each kind of negatives."""
