"""What runs inside the server: a request is read, answered, counted and written down."""
