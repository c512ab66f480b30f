"""What the exercises ask for and how an answer is tested, one module for each lesson."""
