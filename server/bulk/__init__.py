"""Images for a mass of requests: resumable, in any order, into any fsspec store.

tables      files of requests: parquet, JSONL and CSV, as plain rows
plan        what a run has to do, found before it starts
shard       which rows are this run's
runner      many requests at once through the pipeline, and their images into the store
store       a folder that holds each file whole or not at all
record      what became of a request
journal     records, appended: what is in it is done
progress    how far it has come, for whoever waits
manifest    the journal as parquet, and what failed as JSONL
ray_engine  the same on actors of Ray Data

How a row becomes a request is told at the doors, where protobuf stops: doors/request_file.
"""
