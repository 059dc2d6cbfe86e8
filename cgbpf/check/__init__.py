"""What this host can do: facts are probed, a pure function decides, `report` shows."""
