"""The verbs of `python -m server`.

settings  the configuration, from file, environment and flags
building  model, features, engine and pipeline from it
workshop  how a further model comes to run on the engines, and goes
serve     answers requests until a signal comes
verify    says of images where they come from: in provenance, with what seals them
ingest    fills the feature store
models    looks at a pretrained model before it is served; administer: at those of a server
"""
