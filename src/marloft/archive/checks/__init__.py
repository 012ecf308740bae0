"""What makes an archive acceptable: its form, its contents, its origin."""
