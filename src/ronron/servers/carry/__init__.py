"""ronron carried to the manager: its program, its timers, and what runs there to install them."""
