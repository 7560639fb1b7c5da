"""The proof that mined negatives help on images: Fashion-MNIST and a small CNN."""
