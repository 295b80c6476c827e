"""What pages share: filters, links, the choice of a board."""
