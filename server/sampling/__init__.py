"""The sampling engine: rows of many requests, each at its own point of its own schedule.

row        one image on its way, and the ticket that its request holds
pace       how long a tick takes, learnt while serving
admission  what that promises to rows that come now
scheduler  who steps next: plain Python, no torch, no threads, no clock of its own
sharing    walks that agree are walked once
forward    one forward over the guidance rows of a batch, and one update
reuse      predictions that stand for the next ones
warming    every bucket run and timed before serving
engine     the loop: take in, drop the dead, step, hand over
cores      how many cores a thread computes with
decoder    latents → pixels, between ticks or beside them
router     one engine a device
observer   what the engine tells to whoever measures it
"""
