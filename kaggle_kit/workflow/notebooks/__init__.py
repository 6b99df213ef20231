"""What is made here for Kaggle's notebooks: the script that is pushed, the file that is opened, and the package as a wheel."""
