"""The packets room: documents in, typed rows and distinct endpoints out."""
