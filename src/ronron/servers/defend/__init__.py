"""How servers are closed: firewall, SSH, bans, kernel settings."""
