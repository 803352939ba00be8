"""The provider `offline`, which uses files on this machine alone."""
