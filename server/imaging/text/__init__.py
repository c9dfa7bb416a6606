"""Text is set here; no model draws letters.

fonts         what is shipped, what a brand kit brings, what the system has
lettering     a text becomes what can be set of it
breaking      where a line may end
shaping       a line becomes glyphs, by HarfBuzz
typesetting   lines, sizes and an ellipsis, so that a text fits a box
build_fonts   makes the shipped fonts again
"""
