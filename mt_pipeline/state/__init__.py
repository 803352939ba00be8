"""The state of a data folder in Postgres, which several machines share: connections and locks."""
