"""Lesson 06 displays no formula."""
