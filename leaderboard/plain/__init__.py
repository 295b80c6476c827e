"""The board as a folder of plain pages and JSON, which any web space serves: no server, no scripts."""
