"""One answer to every exercise; look after you have tried."""
