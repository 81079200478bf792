"""How the embedded rehearsal model models/sdxl-nano was made: captions, data file, architecture, training, evidence."""
