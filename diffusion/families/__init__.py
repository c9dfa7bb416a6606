"""Pretrained models: each family in its own words, all of them in the one signature.

specification   what a model is and how it is to be served: YAML, validated, frozen
folder          is the folder in the published layout, whole, and in safetensors?
loading         from a specification to a model
family          what an architecture has to say for itself
quantization    weights in eight bits
model           all that is alike for every family: prompts, product, shopper, walks
schedules       where a family's own schedule goes, in our sigmas
unet            Stable Diffusion 1.5 and XL
flow            what the transformers of a rectified flow have in common
sd3             Stable Diffusion 3 and 3.5
flux            FLUX.1
z_image         Z-Image
qwen_image      Qwen-Image
kandinsky       Kandinsky 2.2, an unCLIP
adapters        what is added to a family: the shopper, a ControlNet, LoRAs
"""
