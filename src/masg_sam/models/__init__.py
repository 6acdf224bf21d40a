"""The network: SAM's encoders and decoder, and the three modules of MASG-SAM around them."""
