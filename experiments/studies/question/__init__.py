"""Does a search with R give cells that are more robust than those of the searches it competes with? Protocols, runs, answer."""
