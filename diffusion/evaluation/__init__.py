"""Does it personalize, and is it still the product? What `make evaluate` asks, and how.

judge        reads look and product from a picture, independently of all that is judged
metrics      rates, distances and their confidence intervals
generation   pictures for many pairs of product and shopper in one go
study        who is shown what, and what is counted of it
report       the answers as a page that a merchant and an analyst can read
"""
