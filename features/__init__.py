"""Who is asking and for what: the feature store, from a shop's files to a request.

In the order in which data meets the rooms:

    world/           the embedded catalogue
    catalogue        a shop's products, each good one and every problem; catalogue_rows: JSONL,
                     parquet, CSV; coco: COCO JSON and its masks; packshots: pictures, cut out
    schema           what is stored: views, columns; vector: their fingerprint
    ingest           pictures and titles -> embeddings; offline: parquet parts, sifted
    creatives        what simulated shoppers see; shoppers: their tastes and clicks; histories: the
                     clicks -> embeddings; simulate: all of it, as a command
    recent_clicks    the last clicks as a row, of a history or moved on by a stream
    quiet_feast      the only import of Feast; definitions: the schema in its words; store: one home
    materialize      offline -> online, the newest event wins
    tombstones       who was erased, and stays out of all of this; keys: what hashes them
    erasure          a shopper's rows, out of the online store and the files; consent, holdings
    prepare          the embedded world, made once
    moments          where histories are looked at, and who is held out
    training_set     what was clicked next, and what was known before; offline_jobs: Feast's, faster
    exposures        what was shown, and what came of it, as exported: for joins as of any moment
    online           reads, off the event loop; batching: many small ones as few large ones
    decoding         stored values -> records; records: what a read answers
    reader           a shopper and products for a request, within its time

Importing this package imports nothing: Feast costs seconds, and its import has side effects.
"""
