"""Which run a read belongs to: open runs by thread and context, and children that join them."""
