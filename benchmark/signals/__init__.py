"""What an attacker reads off a target: one pass a view, reduced inside the hook, cached by content."""
