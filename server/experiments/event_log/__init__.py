"""Events of shoppers, kept: acknowledged after commit, each once, exported, forgotten in time.

log             what the door appends to, and what goes on in the background
writer          all that waits, in one transaction after the other, on a thread of its own
keeping         how events become rows, in SQLite and in PostgreSQL
tables          the rows
opening         a database brought to the tables of this version, by Alembic
migrations      how it gets there: a change of `tables` needs a new revision
checkpoints     SQLite's log, moved into its file beside the writer
retention       what goes after a time, or with a shopper
sticky_buckets  which arm a shopper was given, over restarts and servers
export          parquet for warehouse and analysis, a part at a time
pages           rows as the databases write them by themselves
parquet         what is in it
"""
