"""What algorithms share: each part is a function that several of them call."""
