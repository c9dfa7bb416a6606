"""Pixels after sampling.

compose    the product's own pixels over the surroundings that were made for it
encode     PNG, WebP or JPEG
"""
