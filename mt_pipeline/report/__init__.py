"""The report of an experiment: its queries, the summary of their results, charts and the page."""
