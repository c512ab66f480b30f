"""What a learner starts from: copied to `my/` once, and never over a file that is there."""
