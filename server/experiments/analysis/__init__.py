"""What an experiment came to: from exported events to a report that an analyst can trust.

settings      goal, error rates and windows, as a frozen value
columns       what is counted of each shopper, in whole numbers
moments       exact sums over shoppers: all that a test asks of a sample
events        exported events as tables: who saw which arm when, and what they did then
aggregate     those tables, summed by arm, by day and by segment
metrics       what is compared, and how tea-tasting compares it
sequential    intervals that stay right however often somebody looks
sample_ratio  whether the arms have the sizes that they should have
contrasts     arm against arm on each metric, corrected for how many there are
power         what could be seen by now, and how long the rest takes
off_policy    what each arm would have brought, from what a bandit did
report        all of it as frozen nouns, and as JSON
verdict       the same in a few words: what happened, and whether to trust it
study         the way from a folder to a report, told once
plots, page   the report for people

Reads parquet alone; knows nothing of the server that wrote it.
"""
