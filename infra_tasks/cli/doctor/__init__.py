"""`infra doctor`: one file for each subject, with what is looked up and what is to be thought of it."""
