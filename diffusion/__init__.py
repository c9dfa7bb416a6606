"""How an image is made. Runs with torch, diffusers and transformers, without Feast and gRPC.

palettes, shapes, props, scenery, scenes   what surroundings look like
treatments, looks                          renderings of a packshot; all that tastes are about
finding, cutout, composition               where the product is, and how it is put into a scene
taste, taste_buckets                       clicks → a shopper's embedding; who is alike
encoders, pretrained                       pictures and titles → one space
autoencoder, transformer                   the networks of the embedded default
fusion                                     product and shopper → conditions of a row
denoiser                                   the one signature, and adapters to it
guidance, noise, samplers, walks           how a row walks from noise to image
image_model                                what a server asks of any model
embedded                                   product and shopper → walk, for the embedded default
model, checkpoint                          all of it from a folder: `default`; `fast` is its student
families                                   pretrained models: Stable Diffusion, FLUX and others
training                                   how the folder was made; train_adapter: for a family
baseline                                   the tutorials' conditional GAN, to be compared with
evaluation                                 how well any of them follows a taste and keeps a product
"""
