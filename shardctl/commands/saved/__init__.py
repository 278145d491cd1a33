"""Plans that were saved: written, read again, and carried out by parts."""
