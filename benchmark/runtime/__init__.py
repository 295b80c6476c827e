"""What any long run needs, knowing nothing of faces: home, atomic files, steps, seeds, memory, executors, interrupts."""
