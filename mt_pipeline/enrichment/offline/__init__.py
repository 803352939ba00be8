"""The provider `offline`: what files on this machine know."""
