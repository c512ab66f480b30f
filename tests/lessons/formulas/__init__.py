"""Every displayed formula of a lesson, evaluated and compared with the code beside it."""
