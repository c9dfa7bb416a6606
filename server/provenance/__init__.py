"""Where an image comes from: said in the image itself, and read again.

origin      what is told of an image, as a manifest of C2PA and as XMP
credentials who signs: a development certificate, the operator's own, or a callback
signing     a manifest into a file
settling    the same manifest for the same image
watermark   a mark that a shopper does not see and an editor does not lose
sealing     all of that for one image, on its way out
verifying   reads manifest and mark
"""
