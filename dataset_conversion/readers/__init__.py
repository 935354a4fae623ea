"""What the scan readers are made of: opening files within bounds, decoding pixels, finding views, judging counts."""
