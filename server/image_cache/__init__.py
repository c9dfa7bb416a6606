"""Images that were made before, for everybody of the same taste.

tastes    which shoppers count as alike: a cell of the space of tastes, never a person
names     what an image is kept under: a digest of all that changes a pixel
cache     what is kept, in memory and below, and one generation for all who ask at once
stored    a kept image as bytes
audience  all who watch one image being made
shelf     what the cache asks of a place below memory
folder    a folder that several processes may share
remote    Redis

Nothing that is kept says who it was made for, but for a keyed hash by which to drop it once they
are erased. What was asked for under a name is answered from the
cache for `ttl_s`, to whoever is in the cell by then; a shopper whose taste moves into another cell
sees another image from then on, and the one they had when they come back.
"""
