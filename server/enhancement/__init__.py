"""What is wrong with a packshot, and how it looks repaired.

enhance    the way of a request, told once
job        a picture on its way, and what is told of it in the end
bench      pixel work off the event loop, none for whom it is too late
opening    what a request brings
nouns      what is asked, found and answered
diagnosis  every defect with a score, and whether it is bad enough to act on
detail     blur, noise and missing resolution, by the edges and the flat places
jpeg       how hard a JPEG was squeezed, by what its grid left
light      exposure and colour cast
framing    where the product stands, and before what
overlay    letters that were laid over a picture
planning   which repairs a diagnosis asks for
cutting    whether a matte left a part of the product behind
repairs    light, colour, background, place and size: pixels in, pixels out
restoring  what the restorer does, as rows of the sampling engine
"""
