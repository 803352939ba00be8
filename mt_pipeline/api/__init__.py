"""The one door to rows and packets: questions, answers, comparison, export, cut."""
