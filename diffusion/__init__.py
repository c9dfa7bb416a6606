"""How an image is made."""
