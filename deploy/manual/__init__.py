"""The pages of docs/reference that are written from the code: `python -m deploy.manual`.

settings      from server/configuration.py
metrics       from server/metrics.py, and which alert asks for each
errors        from server/errors.py, and where the server raises them
measurements  from benchmarks/results
table         how all of them write a table
site          what mkdocs is told besides mkdocs.yml
"""
