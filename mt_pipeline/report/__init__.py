"""A page about an experiment: what QuestDB is asked (`queries.py`), what is drawn (`figures.py`), and the HTML around it (`page.py`)."""
