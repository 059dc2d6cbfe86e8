"""Where numbers come from. `base` has the interface, `choose` the choice."""
