"""How the embedded default is trained: `python -m diffusion.training`.

corpus        every product's views and every scene, rendered once
encoders      pictures and titles into one space
autoencoder   pixels ↔ latents
clicks        shoppers at moments of their history, from the feature store
degradation   poor packshots, for REPAIR
examples      what a step shows: creatives that were clicked, and what was known before
generator     rectified flow towards them
distillation  its walks, in a fifth of the steps
baseline      a conditional GAN on the same examples, to be compared with
judge         the eye of the evaluation, on real composites alone
loop          the one loop that all are trained in
"""
