"""What providers know of endpoints: their application, category and place."""
