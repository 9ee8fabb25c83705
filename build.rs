//! Nothing is generated at build time yet.

fn main() {}
