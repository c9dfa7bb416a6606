"""The verbs of `python -m server`.

settings  the configuration, from file, environment and flags
building  model, features, engine and pipeline from it
serve     answers requests until a signal comes
ingest    fills the feature store
"""
