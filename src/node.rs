//! One server's whole state and rules, without clock, socket, task or random
//! source: time and requests come in, messages and effects go out.
