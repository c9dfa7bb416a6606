"""Pixels after sampling.

frame         the picture that is wanted, and where its product stands
placements    frames and safe areas by where a creative is shown
layers        what a product puts over any picture
surroundings  what is around it: the hole where a generated one was, and room beyond the edges
compose       the product's own pixels over the surroundings that were made for it
fidelity      how true the picture is to the product, with its growth
verification  whether it may be shown
captions      what is written, and layout where: zones, dressing, colours
labelling     what says in a free corner that a machine made the picture
painting      a layout on a picture, its text set by `text`
encode        PNG, WebP or JPEG
"""
