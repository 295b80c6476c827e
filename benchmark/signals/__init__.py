"""What an attacker reads off a target: one pass a view, reduced inside the hook, cached by content.

Each kind of signal is one file: ``answers``, ``pixels``, ``layers``, ``part_responses``, ``head``, ``gradient_norms``.
"""
