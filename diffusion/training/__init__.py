"""How the embedded default is trained: `python -m diffusion.training`.

corpus        every product's views and every scene, rendered once
encoders      pictures and titles into one space
autoencoder   pixels ↔ latents
clicks        shoppers at moments of their history, from the feature store
degradation   poor packshots, for REPAIR
examples      what a step shows: creatives that were clicked, and what was known before
generator     rectified flow towards them
distillation  its walks, in a fifth of the steps
frozen        a pretrained base, for an adapter: opened, checked, kept as it is
pictures      what shoppers clicked, at a base's size; latents: kept once they are known
noising       times, noisy latents and what the base would predict
adapter       a user adapter for the base
baseline      a conditional GAN on the same examples, to be compared with
judge         the eye of the evaluation, on real composites alone
loop          the one loop that all are trained in
"""
