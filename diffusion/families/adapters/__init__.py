"""What is added to a family's network, row by row.

adapter_file     a shopper's adapter as a file
ip_adapter       the shopper through image-prompt attention of a UNet
joint_attention  the same in the transformers of SD 3 and FLUX
user_adapter     an adapter of our own, to be trained
controlnet       the product's edges
canny            and how they are found
lora_file        a LoRA's file, in the layouts that are published
lora             several LoRAs resident at once, chosen by each row
"""
