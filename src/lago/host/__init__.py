"""What this host offers: programs, files, locks, threads, and the network. No word of machines here."""
