"""What every source does alike, and how one is chosen."""
