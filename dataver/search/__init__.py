"""Finding versions by words and by conditions: full text and filters over what is known of them."""
