"""Delete versions, free unreferenced objects, move live bytes out of sparse packs, report usage."""
