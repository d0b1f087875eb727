//! From the text of `/proc` and `/sys` to values of the catalogue.
