"""Keeping house: deleting versions, freeing what nobody needs, moving what is left, what it all takes."""
