"""Batches: jobs of many requests that outlive the connection, and the process.

jobs        what the doors ask for, and what works in the background
batch       what a batch is, as frozen nouns
store       batches that survive the process: taken in, shown, cancelled, forgotten
claims      who works on which, what is left of it, what became of it
tables      both in SQLite or PostgreSQL
worker      one batch after the other, as bulk runs are made (server/bulk)
room        behind those who wait for their images
feeds       news for those who watch
"""
