//! Tests beside Mosquitto and the original.

fn main() {}
