"""A model as somebody hands it in: card, tensors, and every check before a byte is trusted."""
