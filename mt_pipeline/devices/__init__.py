"""The devices of the user, by hardware address, network or name."""
