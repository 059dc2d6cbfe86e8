"""What several tests need: cgroups and loads of their own, requirements, builders."""
