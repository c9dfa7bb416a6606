"""Pixels after sampling.

layers     what a product puts over any picture
compose    the product's own pixels over the surroundings that were made for it
encode     PNG, WebP or JPEG
"""
