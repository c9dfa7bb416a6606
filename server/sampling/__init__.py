"""The sampling engine: rows of many requests, each at its own point of its own schedule.

row        one image on its way, and the ticket that its request holds
scheduler  who steps next: plain Python, no torch, no threads, no clock of its own
forward    one forward over the guidance rows of a batch, and one update
engine     the loop: take in, drop the dead, step, hand over
decoder    latents → pixels, on a thread of its own
pace       how long a tick takes, and what that predicts
observer   what the engine tells to whoever measures
"""
