"""Photos: readers of what people have, procedural faces, and who plays which role."""
