"""Programs of this repository that no user installs; `python -m tools.NAME` runs one."""
