"""How the embedded default is trained: `python -m diffusion.training`.

corpus       every product's views and every scene, rendered once
encoders     pictures ↔ titles and scenes, contrastively
autoencoder  pixels ↔ latents
generator    rectified flow towards creatives of a shopper's taste
loop         the one loop that all three are trained in
"""
