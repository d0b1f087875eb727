//! Both real binaries.
