"""Segment Anything: image encoders behind one interface, prompt encoder, mask decoder and their weights."""
