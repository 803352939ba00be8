"""Where rows are loaded: the protocol, and a folder for each back end."""
