"""The sampling engine: rows of many requests, each at its own point of its own schedule.

row        one image on its way, and the ticket that its request holds
scheduler  who steps next: plain Python, no torch, no threads, no clock of its own
engine     the loop: intake, one batched forward, update, hand over
observer   what the engine tells to whoever measures
"""
