"""What `tsar.ARNet` is made of: its options, and its equations in and out of standardized units."""
