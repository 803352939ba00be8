"""The QuestDB back end: loads rows into tables, counts them, and keeps a view per experiment."""
