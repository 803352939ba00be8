"""The QuestDB room: typed rows and answers in, a counted table and its views out."""
