"""`infra top`: what is seen (`looking`), what the user chose (`model`), how it looks (`drawing`), and the loop."""
