"""What people and programs read: tables, JSON, CSV. Nothing here measures."""
