"""The `xling` command, one file per sub-command."""
