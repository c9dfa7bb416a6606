"""A simulated shop that tests personalized images: `python -m server.demo.shop`, `make ab-demo`.

shoppers   who comes, and what makes them click: a hidden taste, read from pixels by the judge
visits     slates through gRPC, and what came of them, told back as events
truth      what the arms are really worth, since here it is known
program    the whole loop, from an empty store to a report
"""
